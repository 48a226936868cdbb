"""canopic seal: from kept calibrations to a bundle file, and what it says when it will not."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer

from host.calibrate.results import save_outcome
from host.commands.seal import seal_bundle
from host.seal.sealing import broken_seal, seal_of
from optics.bundle import Bundle, default_bundle_path, read_bundle, write_bundle
from optics.mask import Mask, write_mask
from tests.host.seal import parts


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(default_bundle_path())


@pytest.fixture
def calibrated(tmp_path: Path, bundle: Bundle) -> Path:
    directory = tmp_path / "calibration"
    for each in parts.all_parts(bundle).values():
        save_outcome(each.outcome, directory)
    return directory


def run(calibration: Path, target: Path, name: str = "default", mask: Path | None = None, as_json: bool = True) -> int:
    return seal_bundle(name, calibration, target, mask, force=False, as_json=as_json)


def refused(calibration: Path, target: Path) -> int:
    with pytest.raises(typer.Exit) as stopped:
        run(calibration, target)
    return int(stopped.value.exit_code)


def test_a_directory_of_calibrations_becomes_a_sealed_file(
    tmp_path: Path, calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = Mask(np.random.default_rng(0).uniform(0, 1e-6, (9, 9)), 2e-6)
    write_mask(mask, tmp_path / "mask.npz")
    target = tmp_path / "hall.canopic"
    assert run(calibrated, target, mask=tmp_path / "mask.npz") == 0
    said = json.loads(capsys.readouterr().out)
    made = read_bundle(target)
    assert broken_seal(made) is None
    assert said == {"file": str(target), "id": made.id, "seal": seal_of(made)}
    assert said["seal"]["mask"]["id"] == mask.id
    assert set(said["seal"]["calibrations"]) == {"board", "psf", "sensor", "range"}


def test_a_person_is_told_what_was_bound_and_to_keep_the_id(
    tmp_path: Path, calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "hall.canopic"
    assert run(calibrated, target, as_json=False) == 0
    said = capsys.readouterr()
    for text in (
        parts.BOARD,
        parts.CAMERA,
        read_bundle(target).id,
        "for real parts",
        "correlation with the encoding's kernel 1.000",
    ):
        assert text in said.out
    assert "Write the bundle id down" in said.err


def test_what_will_not_be_sealed_leaves_no_file(
    tmp_path: Path, calibrated: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "hall.canopic"
    (calibrated / "psf.npz").unlink()
    assert refused(calibrated, target) == 2
    assert "psf.npz is missing: run `canopic calibrate psf" in capsys.readouterr().err
    assert refused(tmp_path / "none", target) == 2
    assert "is no directory" in capsys.readouterr().err
    assert refused(calibrated, tmp_path / "hall.zip") == 2
    assert "ends in .canopic" in capsys.readouterr().err
    assert not target.exists()
    write_bundle(bundle, target)
    with pytest.raises(typer.Exit):
        run(calibrated, target, name=str(target))
    assert "another name" in capsys.readouterr().err
    assert seal_of(read_bundle(target)) is None
    save_outcome(parts.psf().outcome, calibrated)
    assert run(calibrated, target) == 0
