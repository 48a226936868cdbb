"""A sensor that hangs too close says so, with numbers, wherever its configuration is looked at; and goes on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from host.commands.config import check, show
from host.config import Config
from host.config_file import ConfigError, load_config
from host.daemon import Limits
from host.doctor import _configuration
from host.mounting import mounting_warning, mounting_warning_of, standpoint_of
from optics.bundle import Bundle, default_bundle_path, read_bundle, write_bundle
from tests.host.sensing import Running, board_missing, make_room

EVIDENCE = {
    "sizes_px": [12, 24, 48, 96],
    "identity": [0.012, 0.016, 0.055, 0.31],
    "identity_95": [[0.0, 0.02], [0.0, 0.027], [0.03, 0.09], [0.26, 0.362]],
    "chance": 1 / 71,
    "face": [0.7, 0.8, 0.9, 0.95],
    "private_below_px": 24,
    "attackers": [{"face_px": 12, "best": "small, identity", "attackers": {"small, identity": {"mean": 0.012}}}],
    "rule": "upper 95 % bound of the best of small, identity within 2 times chance, here and at every smaller size",
}
LENS = {"focal_length_mm": 3.04, "pixel_pitch_um": 4.48}


def bundle(**change: Any) -> Bundle:
    return replace(read_bundle(default_bundle_path()), evidence={"distance": EVIDENCE | change})


def config(nearest_m: float, **other: Any) -> Config:
    return Config.model_validate({"mounting": {"nearest_m": nearest_m, **LENS}, **other})


def test_the_warning_has_the_numbers() -> None:
    """A lens of 3.04 mm over pixels of 4.48 um sees a face at 2 m with 81 px."""
    standpoint = standpoint_of(config(2.0))
    assert standpoint is not None
    assert standpoint.face_px == pytest.approx(81.4, abs=0.1)
    warning = mounting_warning(config(2.0), bundle())
    assert warning is not None
    for part in (
        "2 m",
        "81 px",
        "at 96 px",
        "31.0%",
        "36.2%",
        "71 people",
        "1.4%",
        "24 px",
        "6.8 m",
        "the best of small",
    ):
        assert part in warning, part
    assert "\n" not in warning


def test_far_enough_is_well_and_silence_is_no_warning() -> None:
    assert mounting_warning(config(7.0), bundle()) is None
    assert mounting_warning(Config(), bundle()) is None
    assert mounting_warning(config(6.7), bundle()) is not None


def test_what_the_evidence_cannot_tell_is_said() -> None:
    without = replace(bundle(), evidence={})
    assert "no evidence" in str(mounting_warning(config(2.0), without))
    assert "at no measured size" in str(mounting_warning(config(20.0), bundle(private_below_px=None)))
    assert "the largest measured" in str(mounting_warning(config(0.5), bundle(private_below_px=96)))
    assert "does not say of which" in str(mounting_warning(config(2.0), bundle(attackers=[])))
    assert "cannot be read" in str(mounting_warning(config(2.0), bundle(sizes_px="many")))


def test_a_nearest_distance_needs_a_lens(tmp_path: Path) -> None:
    file = tmp_path / "canopic.yaml"
    file.write_text("mounting:\n  nearest_m: 2\n  focal_length_mm: 3.04\n")
    with pytest.raises(ConfigError, match="expected 'pixel_pitch_um' beside 'nearest_m'"):
        load_config(file)


@pytest.fixture
def too_close(tmp_path: Path) -> Path:
    """A configuration with a bundle and a mounting that is too close for it."""
    full = read_bundle(default_bundle_path())
    write_bundle(replace(full, evidence=dict(full.evidence) | {"distance": EVIDENCE}), tmp_path / "mine.canopic")
    file = tmp_path / "canopic.yaml"
    file.write_text("bundle: mine.canopic\nmounting: {nearest_m: 2, focal_length_mm: 3.04, pixel_pitch_um: 4.48}\n")
    return file


def test_config_and_doctor_warn(too_close: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(too_close) == 0
    said = capsys.readouterr()
    assert "valid" in said.out
    assert said.err.startswith("warning: people as near as 2 m have faces of 81 px")
    show(too_close, as_json=True)
    assert "warning:" in capsys.readouterr().err
    parts = {found.part: found for found in _configuration(too_close)}
    assert parts["configuration"].verdict == "ok"
    assert parts["mounting"].verdict == "wrong"
    assert "81 px" in parts["mounting"].found
    assert parts["mounting"].fix
    too_close.write_text(too_close.read_text().replace("nearest_m: 2", "nearest_m: 9"))
    assert {found.part: found.verdict for found in _configuration(too_close)}["mounting"] == "ok"
    assert mounting_warning_of(load_config(too_close).config) is None


@pytest.mark.skipif(bool(board_missing()), reason=f"no board program: {board_missing()}")
def test_a_run_warns_once_and_goes_on(too_close: Path, tmp_path: Path) -> None:
    mounting = {f"mounting.{name}": value for name, value in ({"nearest_m": 2.0} | LENS).items()}
    room = make_room(tmp_path / "room", 6)
    with Running(room, tmp_path / "state", Limits(3), bundle=str(too_close.parent / "mine.canopic"), **mounting) as run:
        memory = run.finish()
    (warning,) = [event for event in memory.events if event["event"] == "warning"]
    assert "81 px" in warning["message"]
    started = next(event for event in memory.events if event["event"] == "started")
    assert started["warnings"] == [warning["message"]]
    assert len(memory.measurements) == 3
