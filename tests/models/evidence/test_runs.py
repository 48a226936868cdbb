"""Runs are kept whole, found again by everything that decides them, and damaged files are named."""

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evidence.runs import Run, RunError, RunKey, canonical, correct_images, find_run, read_run, share, write_run

KEY = RunKey("ab" * 32, "identity", "small x8", 1, canonical({"epochs": 3}))


def a_run(key: RunKey = KEY) -> Run:
    right = np.array([True, False, True])
    return Run(key, "mine", {"identity": share(right, np.array([0, 1, 1]), 2, 10)}, 1.5)


def test_a_run_is_found_again(tmp_path: Path) -> None:
    path = write_run(tmp_path / "runs", a_run())
    found = find_run(tmp_path / "runs", KEY)
    assert found is not None
    assert (found.key, found.results, found.seconds) == (KEY, a_run().results, 1.5)
    assert [one.name for one in path.parent.iterdir()] == [KEY.file_name]


@pytest.mark.parametrize(
    "other",
    [{"subject": "cd" * 32}, {"question": "face"}, {"attacker": "small"}, {"seed": 2}, {"settings": canonical({})}],
)
def test_another_run_is_not_taken_for_it(tmp_path: Path, other: dict[str, str]) -> None:
    write_run(tmp_path, a_run())
    assert find_run(tmp_path, replace(KEY, **other)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "of tomorrow"}'])
def test_a_damaged_run_is_named(tmp_path: Path, content: str) -> None:
    path = write_run(tmp_path, a_run())
    path.write_text(content)
    with pytest.raises(RunError, match=path.name):
        find_run(tmp_path, KEY)


def test_a_run_under_another_ones_name_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, a_run(replace(KEY, subject="cd" * 32)))
    path.rename(tmp_path / KEY.file_name)
    assert read_run(tmp_path / KEY.file_name).key.subject == "cd" * 32
    with pytest.raises(RunError, match="another run"):
        find_run(tmp_path, KEY)


@given(st.lists(st.booleans(), min_size=1, max_size=70), st.integers(1, 5), st.randoms())
def test_a_share_keeps_which_images_were_right(right: list[bool], classes: int, random: Random) -> None:
    labels = np.array([random.randrange(classes) for _ in right])
    measure = share(np.array(right), labels, classes, 5)
    assert correct_images(measure).tolist() == right
    assert measure["right"] == sum(right)
    assert measure["constant"] >= measure["chance"] - 1e-12
    assert 0 <= measure["per_class"] <= 1
