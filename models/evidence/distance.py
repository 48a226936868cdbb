"""Identity and detection against the size of a face in pixels: fresh attackers at each size, with the same budget.

A mask blurs by so many pixels and a cell pools so many: how much either hides depends on how large the face is. So the
crops of the archives are brought to the wanted size, measured at that size, and attacked as `models.evidence.questions`
does. Faces of the archives are about 48 px high in crops of 64 px: larger sizes show no detail that these lack, and
what leaks from a face that is really so close may be more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.evidence.folds import Answer, summary_of_folds
from models.evidence.mounting import TIMES_CHANCE, guesser_passes, private_below_px, upper_bound
from models.evidence.runs import find_run
from models.evidence.settings import EvidenceSettings
from models.evidence.sized import archive_sums, do_sized, parted, sized_runs
from models.evidence.subjects import Subject

SIZES_PX = (12.0, 16.0, 24.0, 32.0, 40.0, 48.0, 64.0, 80.0, 96.0, 120.0)

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class BySize:
    """What the best attacker reaches at each size: `sizes_px`, `shares` (means over classes), `intervals` (95 %,
    Wilson), `chance`, and `details`: one JSON object per size with every attacker's summary. `encoding_id`: None for a
    baseline."""

    question: str
    sizes_px: tuple[float, ...]
    shares: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    chance: float
    details: tuple[dict[str, Any], ...]
    encoding_id: str | None = None


def identity_by_size(
    subject: Subject,
    data: Path,
    settings: EvidenceSettings,
    folder: Path,
    sizes_px: tuple[float, ...] = SIZES_PX,
    report: Report | None = None,
) -> BySize:
    """How often the best attacker names the person, at each size of the face, from one look or from several.

    Every image of the people, up to `most_training` of either part of each, is tested once (`models.evidence.folds`),
    and every person counts the same. settings: see `models.evidence.sized.sized_runs`. folder: every finished run is
    kept there and found again. report(what, done, total) is called as it goes. Raises DataMissingError without the
    archives, ValueError for sizes that do not ascend. Needs torch for runs that are not there.
    """
    return _by_size("identity", subject, data, settings, folder, sizes_px, report)


def detection_by_size(
    subject: Subject,
    data: Path,
    settings: EvidenceSettings,
    folder: Path,
    sizes_px: tuple[float, ...] = SIZES_PX,
    report: Report | None = None,
    question: Literal["face", "same-photographs"] = "face",
) -> BySize:
    """How often a fresh network tells a crop with a face from one without, at each size: as `identity_by_size`.

    question: faces and other crops of two sources, or windows of the same photographs (`models.evidence.questions`).
    How well faces are placed in whole scenes, by size, is `models.evidence.scenes.detect_in_scenes`'s "ap_by_size".
    """
    return _by_size(question, subject, data, settings, folder, sizes_px, report)


def distance_evidence(identity: BySize, face: BySize | None = None, times: float = TIMES_CHANCE) -> dict[str, Any]:
    """What a bundle holds as evidence["distance"]: a JSON object (docs/bundle.md), which names its encoding.

    private_below_px: the largest measured size up to which the best attacker's one-sided upper 95 % bound
    (identity_upper_95) is within `times` chance, None where none is. guesser_passes: how probable it is that mere
    guesses are found to be so at one size, were the answers of all attackers independent. Raises ValueError when the
    two were measured at different sizes or on different encodings.
    """
    if face is not None and face.encoding_id != identity.encoding_id:
        raise ValueError("identity and faces were measured on different encodings: measure both on one")
    if face is not None and face.sizes_px != identity.sizes_px:
        raise ValueError(f"identity was measured at {identity.sizes_px} px, faces at {face.sizes_px} px")
    n = [_top(one)["n_effective"] for one in identity.details]
    bounds = [upper_bound(share, each) for share, each in zip(identity.shares, n, strict=True)]
    answers = max(len(one["attackers"]) for one in identity.details)
    found: dict[str, Any] = {
        "sizes_px": list(identity.sizes_px),
        "identity": list(identity.shares),
        "identity_95": [list(interval) for interval in identity.intervals],
        "identity_upper_95": bounds,
        "n_effective": min(n),
        "chance": identity.chance,
        "private_below_px": private_below_px(identity.sizes_px, bounds, identity.chance, times),
        "guesser_passes": guesser_passes(min(n), identity.chance, answers, times),
        "rule": f"one-sided upper 95 % bound of the {_tried(identity)} within {times:g} times chance, here and at "
        "every smaller size",
        "attackers": list(identity.details),
    }
    if identity.encoding_id is not None:
        found["encoding_id"] = identity.encoding_id
    if face is not None:
        found |= {"face": list(face.shares), "face_95": [list(interval) for interval in face.intervals]}
        found["face_attackers"] = list(face.details)
    return found


def _top(detail: dict[str, Any]) -> dict[str, Any]:
    top: dict[str, Any] = detail["attackers"][detail["best"]]
    return top


def _tried(found: BySize) -> str:
    """Which attackers the best one is the best of: a bound says no more than the attackers that were tried."""
    names = dict.fromkeys(name for one in found.details for name in one.get("attackers", {}))
    return f"best of {'; '.join(names)}" if names else "best attacker"


def _by_size(
    question: str,
    subject: Subject,
    data: Path,
    settings: EvidenceSettings,
    folder: Path,
    sizes_px: tuple[float, ...],
    report: Report | None,
) -> BySize:
    runs = sized_runs(question, subject, archive_sums(data, question), settings, sizes_px)
    answers: dict[float, dict[str, dict[int, list[Answer]]]] = {size: {} for size in sizes_px}
    for number, one in enumerate(runs):
        if report is not None:
            report(one.name, number, len(runs))
        run = find_run(folder / "runs", one.key) or do_sized(one, subject, data, folder)
        labels = parted(question, data, one.settings.limits, folder / "cache")[one.fold][f"{question} test"].labels
        # Runs may measure more than who it is (retrieval, verification): here only the question itself counts.
        for name in (each for each in run.results if each.startswith(question)):
            seeds = answers[one.face_px].setdefault(f"{one.key.attacker}, {name}", {})
            seeds.setdefault(one.key.seed, []).append((run.results[name], labels))
    if report is not None:
        report(f"{question} at every size", len(runs), len(runs))
    details, tops = [], []
    for size in sizes_px:
        summaries = {name: summary_of_folds(seeds) for name, seeds in answers[size].items()}
        best = max(summaries, key=lambda name: summaries[name]["mean"])
        details.append({"face_px": size, "best": best, "attackers": summaries})
        tops.append(summaries[best])
    return BySize(
        question,
        tuple(sizes_px),
        tuple(top["mean"] for top in tops),
        tuple((top["interval_95"][0], top["interval_95"][1]) for top in tops),
        tops[0]["chance"],
        tuple(details),
        None if subject.encoding is None else subject.encoding.id,
    )
