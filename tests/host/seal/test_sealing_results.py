"""Calibrations as they are kept: the same again when read, and every damage named with the command that mends it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from calibration.outcome import Outcome
from host.calibrate.results import ResultError, array_digest, kept_kinds, load_outcome, save_outcome
from host.calibrate.store import write_arrays


def outcome() -> Outcome:
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {"trims": np.arange(15, dtype=np.int16), "transition_volts": rng.random(15)}
    return Outcome("board", True, "good", {"board_serial": "B-1", "limits": [], "wrong_setup": None}, arrays)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    save_outcome(outcome(), tmp_path, {"board_serial": "B-1"}, datetime(2026, 5, 1, tzinfo=UTC))
    return tmp_path


def test_what_was_saved_is_read(kept: Path) -> None:
    found = load_outcome(kept, "board")
    assert (found.outcome.passed, found.outcome.reason) == (True, "good")
    assert found.outcome.result == outcome().result
    assert found.simulated
    assert found.made_at == "2026-05-01T00:00:00+00:00"
    for name, values in outcome().arrays.items():
        assert found.outcome.arrays[name].dtype == values.dtype
        assert np.array_equal(found.outcome.arrays[name], values)
    assert kept_kinds(kept) == ["board"]


def test_a_real_device_has_no_truth(tmp_path: Path) -> None:
    save_outcome(outcome(), tmp_path)
    assert not load_outcome(tmp_path, "board").simulated


def test_nothing_unfinished_is_left(kept: Path) -> None:
    assert sorted(path.name for path in kept.iterdir()) == ["board.json", "board.npz"]


def test_a_missing_calibration_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"psf\.json is missing: run `canopic calibrate psf --out"):
        load_outcome(tmp_path, "psf")


def test_arrays_of_another_run_are_refused_and_accepted_again_once_saved_whole(kept: Path) -> None:
    write_arrays(kept / "board.npz", outcome().arrays | {"trims": np.full(15, 3, np.int16)})
    with pytest.raises(ResultError, match="two different runs"):
        load_outcome(kept, "board")
    save_outcome(outcome(), kept)
    assert load_outcome(kept, "board").outcome.arrays["trims"][3] == 3


def test_missing_arrays_are_named(kept: Path) -> None:
    (kept / "board.npz").unlink()
    with pytest.raises(ResultError, match=r"board\.npz is missing"):
        load_outcome(kept, "board")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "psf"}, "kind 'psf', not 'board'"),
        ({"passed": 1}, "no usable 'passed'"),
        ({"result": []}, "no usable 'result'"),
        ({"truth": "x"}, "no usable 'truth'"),
        ({"made_at": "yesterday"}, "no date"),
        ({"made_at": "2026-05-01T00:00:00"}, "no date with a time zone"),
        ({"arrays": None}, "no usable 'arrays'"),
    ],
)
def test_a_changed_document_is_refused(kept: Path, change: dict[str, object], says: str) -> None:
    path = kept / "board.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ResultError, match=says):
        load_outcome(kept, "board")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_a_result_error_or_harmless(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any byte changed, anything cut off: refused with words, or exactly what was kept (a changed zip time)."""
    directory = tmp_path_factory.mktemp("kept")
    save_outcome(outcome(), directory, None, datetime(2026, 5, 1, tzinfo=UTC))
    name = data.draw(st.sampled_from(["board.json", "board.npz"]))
    content = bytearray((directory / name).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[at:]
    (directory / name).write_bytes(content)
    try:
        found = load_outcome(directory, "board")
    except ResultError as error:
        said = str(error)
    else:
        same = (np.array_equal(found.outcome.arrays[key], each) for key, each in outcome().arrays.items())
        said = f"{directory / 'board'}" if all(same) else "other arrays were read"
    assert str(directory / "board") in said


def test_digests_tell_dtype_shape_and_content_apart_but_not_byte_order() -> None:
    values = np.arange(6, dtype=np.int32)
    others: list[NDArray[Any]] = [values.astype(np.int64), values.reshape(2, 3), values + 1, values.astype(np.uint32)]
    assert len({array_digest(each) for each in [values, *others]}) == 5
    assert array_digest(values.astype(">i4")) == array_digest(values)
