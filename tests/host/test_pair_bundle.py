"""A bundle whose kernel is a pair of masks, pool 16: what runs with it, and what refuses it and says why."""

from pathlib import Path

import numpy as np
import pytest

from host.daemon import Limits
from host.twin.player import Twin
from models.detector.default_encoding import gaussian_kernel
from models.detector.ship import assembled
from optics.bundle import read_bundle, write_bundle
from optics.description import PAIR, built_with
from optics.encoding import Encoding
from tests.host.sensing import Running, board_missing, make_room

onnx = pytest.importorskip("onnx", reason="making a detector needs onnx: pip install 'canopic[train]'")
pytestmark = pytest.mark.skipif(bool(board_missing()), reason=f"no board program: {board_missing()}")

SHAPE = (30, 40, 3)


def nobody() -> bytes:
    """An ONNX model with a detector's input and outputs, whose heat is zero."""
    helper, kind = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["codes"], ["numbers"], to=kind.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["mean"], axes=[0, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["heat"]),
        helper.make_node("Add", ["heat", "boxes"], ["box"]),
    ]
    rows, columns, _ = SHAPE
    graph = helper.make_graph(
        nodes,
        "nobody",
        [helper.make_tensor_value_info("codes", kind.UINT8, [1, *SHAPE])],
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


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """A narrow blur less a wide one, and a detector that finds nobody."""
    kernel = 0.7 * gaussian_kernel(3.0)[:, 16:-16, 16:-16] - 0.3 * gaussian_kernel(6.0)[:, 16:-16, 16:-16]
    encoding = Encoding(kernel.astype(np.float32), np.linspace(0.05, 0.9, 15, dtype=np.float32), 16)
    assert built_with(encoding) == PAIR
    training = {"encoding_id": encoding.id, "score_threshold": 0.9, "parameters": 1}
    path = tmp_path_factory.mktemp("bundle") / "pair.canopic"
    write_bundle(assembled(encoding, nobody(), training, {}), path)
    return path


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    return make_room(tmp_path_factory.mktemp("scene") / "room")


def test_the_twin_measures_it_and_presence_is_seen(bundle, room, tmp_path):
    with Running(room, tmp_path, bundle=str(bundle)) as running:
        memory = running.finish()
    assert {len(codes) for codes in memory.codes} == {30 * 40 * 3}
    assert memory.measurements[-1]["provenance"]["encoding_id"] == read_bundle(bundle).encoding.id
    assert memory.kinds("arrived", "left") == ["arrived", "left"]


def test_a_board_on_a_port_measures_it(bundle, room, tmp_path):
    with Twin(str(room), bundle, pace="fast", pty=str(tmp_path / "port")):
        given = {"capture.path": "board", "capture.port": str(tmp_path / "port"), "bundle": str(bundle)}
        with Running(room, tmp_path / "state", Limits(measurements=5), **given) as running:
            memory = running.finish()
    assert len(memory.measurements) == 5


@pytest.mark.parametrize("path", ["camera", "loop"])
def test_one_mask_in_front_of_one_sensor_refuses_it_and_names_what_would_do(bundle, room, tmp_path, path):
    given = {"capture.path": path, "camera.device": "twin", "bundle": str(bundle)}
    with Running(room, tmp_path, Limits(measurements=1, stay_blind=False), **given) as running:
        memory = running.finish()
    assert memory.measurements == []
    assert memory.state == "blind"
    assert any("use path board with two sub-apertures" in str(event.get("reason")) for event in memory.events)
