"""Bundles of other encodings through the whole camera, pool 16: four filters, and a pair of masks.

The twin measures both, and so does a board on a port; what refuses the pair says why.
"""

from pathlib import Path

import numpy as np
import pytest

from host.config import Config
from host.daemon import Limits
from host.sensor import load_equipment
from host.twin.player import Twin
from models.detector.gaussian_encoding import gaussian_kernel
from models.detector.ship import assembled
from optics.bundle import read_bundle, write_bundle
from optics.description import PAIR, built_with
from optics.encoding import Encoding
from tests.host.sensing import Running, board_missing, make_room

onnx = pytest.importorskip("onnx", reason="making a detector needs onnx: pip install 'canopic[train]'")
pytestmark = pytest.mark.skipif(bool(board_missing()), reason=f"no board program: {board_missing()}")

POOL, ROWS, COLUMNS = 16, 30, 40
THRESHOLDS = np.linspace(0.05, 0.9, 15, dtype=np.float32)


def nobody(shape: tuple[int, int, int]) -> bytes:
    """An ONNX model with a detector's input (codes of this shape) and outputs, whose heat is zero."""
    helper, kind = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["codes"], ["numbers"], to=kind.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["mean"], axes=[0, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["heat"]),
        helper.make_node("Add", ["heat", "boxes"], ["box"]),
    ]
    rows, columns, _ = shape
    graph = helper.make_graph(
        nodes,
        "nobody",
        [helper.make_tensor_value_info("codes", kind.UINT8, [1, *shape])],
        [
            helper.make_tensor_value_info("heat", kind.FLOAT, [rows, columns]),
            helper.make_tensor_value_info("box", kind.FLOAT, [4, rows, columns]),
        ],
        [
            onnx.numpy_helper.from_array(np.float32(0), "zero"),
            onnx.numpy_helper.from_array(np.zeros((4, rows, columns), np.float32), "boxes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


def written(path: Path, encoding: Encoding, model: bytes) -> Path:
    """A bundle of an encoding and a detector."""
    training = {"encoding_id": encoding.id, "score_threshold": 0.9, "parameters": 1}
    write_bundle(assembled(encoding, model, training, {}), path)
    return path


@pytest.fixture(scope="module")
def four_filters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four box blurs, and a detector that has learned nothing but finds a face of four cells everywhere."""
    torch = pytest.importorskip("torch", reason="making a detector needs torch: pip install 'canopic[train]'")
    from models.detector.export import export_float
    from models.detector.network import FaceNetwork

    kernels = np.zeros((4, 11, 11), np.float32)
    for index, part in enumerate((np.s_[:6], np.s_[:, :6], np.s_[5:], np.s_[:, 5:])):
        kernels[index][part] = 1 / 66
    encoding = Encoding(kernels, THRESHOLDS, POOL)
    torch.manual_seed(0)
    model = export_float(FaceNetwork(12, (4, 4, 4)).eval(), (ROWS, COLUMNS, 12))
    return written(tmp_path_factory.mktemp("bundle") / "four.canopic", encoding, model)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrow blur less a wide one, and a detector that finds nobody.

    Weights that leave light enough: nearly balanced ones are exposed at the greatest gain, where noise decides.
    """
    kernel = 0.85 * gaussian_kernel(3.0)[:, 16:-16, 16:-16] - 0.15 * gaussian_kernel(6.0)[:, 16:-16, 16:-16]
    encoding = Encoding(kernel.astype(np.float32), THRESHOLDS, POOL)
    assert built_with(encoding) == PAIR
    return written(tmp_path_factory.mktemp("bundle") / "pair.canopic", encoding, nobody((ROWS, COLUMNS, 3)))


@pytest.fixture(scope="module", params=["four_filters", "pair"])
def bundle(request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_room(tmp_path_factory.mktemp("scene") / "room")


def test_the_twin_measures_it_and_presence_is_seen(bundle: Path, room: Path, tmp_path: Path) -> None:
    encoding = read_bundle(bundle).encoding
    with Running(room, tmp_path, bundle=str(bundle)) as running:
        memory = running.finish()
    assert {len(codes) for codes in memory.codes} == {ROWS * COLUMNS * encoding.channels}
    assert memory.measurements[-1]["provenance"]["encoding_id"] == encoding.id
    assert memory.kinds("arrived", "left") == ["arrived", "left"]


def test_a_board_on_a_port_measures_it(bundle: Path, room: Path, tmp_path: Path) -> None:
    with Twin(str(room), bundle, pace="fast", pty=str(tmp_path / "port")):
        given = {"capture.path": "board", "capture.port": str(tmp_path / "port"), "bundle": str(bundle)}
        with Running(room, tmp_path / "state", Limits(measurements=5), **given) as running:
            memory = running.finish()
    assert len(memory.measurements) == 5
    assert len(memory.codes[0]) == ROWS * COLUMNS * read_bundle(bundle).encoding.channels


def test_faces_of_another_pool_are_placed_in_sensor_pixels(four_filters: Path) -> None:
    config = Config(bundle=str(four_filters), detector={"score_threshold": 0.001}, presence={"enabled": False})
    equipment = load_equipment(config)
    assert equipment.detector is not None
    assert equipment.detector.shape == (ROWS, COLUMNS, 12)
    codes = np.random.default_rng(0).integers(0, 16, (ROWS, COLUMNS, 12)).astype(np.uint8)
    boxes = equipment.detector.detect(codes).boxes
    # The network's first guess is a box of exp(1.3) x exp(1.5) cells.
    assert np.median(boxes[:, 2]) == pytest.approx(POOL * np.exp(1.3), rel=0.3)
    assert boxes[:, 0].max() > 400


@pytest.mark.parametrize("path", ["camera", "loop"])
def test_one_mask_in_front_of_one_sensor_refuses_a_pair_and_names_what_would_do(
    pair: Path, room: Path, tmp_path: Path, path: str
) -> None:
    given = {"capture.path": path, "camera.device": "twin", "bundle": str(pair)}
    with Running(room, tmp_path, Limits(measurements=1, stay_blind=False), **given) as running:
        memory = running.finish()
    assert memory.measurements == []
    assert memory.state == "blind"
    assert any("use path board with two sub-apertures" in str(event.get("reason")) for event in memory.events)
