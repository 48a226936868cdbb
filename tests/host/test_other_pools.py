"""A bundle whose encoding has four filters and pool 16, through the whole camera: the twin, and a board on a port."""

from pathlib import Path

import numpy as np
import pytest

from host.config import Config
from host.daemon import Limits
from host.sensor import load_equipment
from host.twin.player import Twin
from models.detector.ship import assembled
from optics.bundle import write_bundle
from optics.encoding import Encoding
from tests.host.sensing import Running, board_missing, make_room

torch = pytest.importorskip("torch", reason="making a detector needs torch: pip install 'canopic[train]'")
pytest.importorskip("onnx", reason="making a detector needs onnx: pip install 'canopic[train]'")
pytestmark = pytest.mark.skipif(bool(board_missing()), reason=f"no board program: {board_missing()}")

SHAPE = (30, 40, 12)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """Four box blurs, pool 16, and a detector that has learned nothing but finds a face of four cells everywhere."""
    from models.detector.export import export_float
    from models.detector.network import FaceNetwork

    kernels = np.zeros((4, 11, 11), np.float32)
    for index, part in enumerate((np.s_[:6], np.s_[:, :6], np.s_[5:], np.s_[:, 5:])):
        kernels[index][part] = 1 / 66
    encoding = Encoding(kernels, np.linspace(0.05, 0.9, 15, dtype=np.float32), 16)
    torch.manual_seed(0)
    model = export_float(FaceNetwork(12, (4, 4, 4)).eval(), SHAPE)
    training = {"encoding_id": encoding.id, "score_threshold": 0.9, "parameters": 1}
    path = tmp_path_factory.mktemp("bundle") / "four.canopic"
    write_bundle(assembled(encoding, model, training, {}), path)
    return path


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    return make_room(tmp_path_factory.mktemp("scene") / "room")


def test_the_twin_measures_it_and_presence_is_seen(bundle, room, tmp_path):
    with Running(room, tmp_path, bundle=str(bundle)) as running:
        memory = running.finish()
    assert {np.frombuffer(codes, np.uint8).size for codes in memory.codes} == {30 * 40 * 12}
    assert memory.kinds("arrived", "left") == ["arrived", "left"]


def test_a_board_on_a_port_measures_it(bundle, room, tmp_path):
    with Twin(str(room), bundle, pace="fast", pty=str(tmp_path / "port")):
        given = {"capture.path": "board", "capture.port": str(tmp_path / "port"), "bundle": str(bundle)}
        with Running(room, tmp_path / "state", Limits(measurements=5), **given) as running:
            memory = running.finish()
    assert len(memory.measurements) == 5
    assert len(memory.codes[0]) == 30 * 40 * 12


def test_its_faces_are_placed_in_sensor_pixels(bundle):
    config = Config(bundle=str(bundle), detector={"score_threshold": 0.001}, presence={"enabled": False})
    equipment = load_equipment(config)
    assert equipment.detector.shape == SHAPE
    codes = np.random.default_rng(0).integers(0, 16, SHAPE).astype(np.uint8)
    boxes = equipment.detector.detect(codes).boxes
    # The network's first guess is a box of exp(1.3) x exp(1.5) cells.
    assert np.median(boxes[:, 2]) == pytest.approx(16 * np.exp(1.3), rel=0.3)
    assert boxes[:, 0].max() > 400
