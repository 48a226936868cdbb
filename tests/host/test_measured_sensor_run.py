"""canopic run --sensor: the twin simulates the sensor that was measured, on the paths that simulate one."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from host.cli import app
from host.config_file import load_config
from host.source import open_source
from host.twin.sensor import SensorModel
from optics.bundle import Bundle, default_bundle_path, read_bundle
from tests.host.sensing import Running, board_missing, make_room

pytestmark = pytest.mark.skipif(bool(board_missing()), reason=f"no board program: {board_missing()}")
# So small a well that its noise shows in the codes: 40 electrons at full scale.
MEASURED = {
    "kind": "sensor",
    "passed": True,
    "reason": "fine",
    "result": {
        "camera": "imx219 x", "bits": 10, "black_level_dn": 64.0, "system_gain_dn_per_e": 959 / 40,
        "read_noise_e": 2.0, "dark_current_e_per_s": 5.0, "prnu_percent": 1.0, "dsnu_e": 0.5, "wrong_setup": None,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(default_bundle_path())


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    path = tmp_path / "sensor.json"
    path.write_text(json.dumps(MEASURED))
    return path


def codes_of(room: Path, state: Path, **given: Any) -> list[bytes]:
    with Running(room, state, **given) as running:
        return running.finish().codes


@pytest.mark.parametrize("path", [{}, {"capture.path": "camera", "camera.device": "twin"}], ids=["twin", "camera"])
def test_its_noise_is_in_the_codes(path: dict[str, str], measured: Path, tmp_path: Path) -> None:
    room = make_room(tmp_path / "room", 12)
    still = {"exposure.mode": "manual", **path}
    changes = []
    for number, sensor in enumerate((None, str(measured))):
        given = still if sensor is None else {**still, "capture.sensor": sensor}
        codes = codes_of(room, tmp_path / f"state{number}", **given)
        pairs = list(pairwise(codes))
        changes.append(sum(a != b for one, other in pairs for a, b in zip(one, other, strict=True)) / len(pairs))
    # The room stands still: what changes from frame to frame is noise.
    assert changes[1] > 3 * changes[0]


def test_the_model_crosses_into_the_twins_as_it_was_measured(bundle: Bundle, measured: Path) -> None:
    given = {"capture.sensor": (str(measured), "--sensor"), "capture.pace": ("fast", "--pace")}
    source = open_source(load_config(None, dict(given)).config, bundle, default_bundle_path())
    try:
        assert source.twin is not None
        assert source.twin.spec.sensor == SensorModel(
            full_well_electrons=40.0,
            read_noise_electrons=2.0,
            dark_current_electrons_per_s=5.0,
            prnu_percent=1.0,
            dsnu_electrons=0.5,
            bits=10,
            black_level_dn=64,
        )
    finally:
        source.close()


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": "psf", "result": {}}', json.dumps({"kind": "sensor"})])
def test_what_is_no_measured_sensor_is_said(tmp_path: Path, content: str) -> None:
    path = tmp_path / "sensor.json"
    path.write_text(content)
    for options in ([], ["--path", "camera", "--camera", "twin"]):
        result = CliRunner().invoke(app, ["run", *options, "--sensor", str(path), "--frames", "1", "--json"])
        assert result.exit_code != 0
        assert "sensor.json" in result.output
        assert "Traceback" not in result.output
