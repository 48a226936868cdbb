"""A bundle whose detector finds almost nobody says so when a sensor starts, and no other does."""

from dataclasses import replace

from host.weak_detector import weak_detector_warning
from optics.bundle import read_bundle, resolve_bundle


def test_the_warning_is_about_what_was_measured() -> None:
    private = read_bundle(resolve_bundle("private"))
    warning = weak_detector_warning(private)
    assert warning is not None
    assert "average precision 0.03 (unencoded pictures: 0.58)" in warning
    assert weak_detector_warning(replace(private, evidence={})) is None
    for name in ("default", "useful"):
        assert weak_detector_warning(read_bundle(resolve_bundle(name))) is None


def test_evidence_of_another_encoding_is_left_to_who_shows_the_bundle() -> None:
    private = read_bundle(resolve_bundle("private"))
    other = replace(private, encoding=read_bundle(resolve_bundle("default")).encoding, models={}, metadata={})
    assert weak_detector_warning(other) is None
