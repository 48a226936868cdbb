"""A bundle for a pair of masks: whatever stands behind one mask refuses it at once, and says what to do instead."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer

from host.boundary.measuring import NotMeasurable, check_measurable
from host.calibrate.catalogue import procedure_of
from host.commands.agreement import calibrated_twin, compare_codes
from optics.bundle import Bundle, default_bundle_path, read_bundle, write_bundle

ALONE = r"takes a pair of masks.*Calibrate its board alone and seal that"


@pytest.fixture(scope="module")
def pair() -> Bundle:
    encoding = read_bundle(default_bundle_path()).encoding
    kernels = np.zeros((1, 5, 5), np.float32)
    kernels[0, 2, 2], kernels[0, 1, 1] = 0.6, -0.4
    return Bundle(replace(encoding, kernels=kernels))


def test_a_camera_behind_one_mask_names_the_path_for_two(pair: Bundle) -> None:
    with pytest.raises(NotMeasurable, match=r"negative taps.*use path board with two sub-apertures, or a realisable"):
        check_measurable(pair)
    with pytest.raises(NotMeasurable, match="use path board with two sub-apertures"):
        procedure_of("range", pair, quick=True)


def test_its_psf_is_not_calibrated_and_its_board_is(pair: Bundle) -> None:
    with pytest.raises(ValueError, match=ALONE):
        procedure_of("psf", pair, quick=True)
    assert procedure_of("board", pair, quick=True).kind == "board"


def test_agreement_refuses_it_before_anything_is_acquired(
    pair: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def acquired(text: str) -> None:
        pytest.fail(f"began to acquire: {text}")

    with pytest.raises(ValueError, match=ALONE):
        calibrated_twin(pair, 1, acquired)
    write_bundle(pair, tmp_path / "pair.canopic")
    with pytest.raises(typer.Exit) as stopped:
        compare_codes(str(tmp_path / "pair.canopic"), 1, None, 1, None, as_json=False)
    assert stopped.value.exit_code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "it takes a pair of masks" in said
    assert "Traceback" not in said
