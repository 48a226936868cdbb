"""What the runs say: a summary per subject, measure and attacker, which subject beats which, and the goals."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.detector.metrics import wilson_interval
from models.evidence.runs import MEANS, Measure, Run, correct_images

SCHEMA = "canopic-evidence-1"
SEVERAL_LOOKS = ", several looks"
IDENTITY, FACE = "identity", "face"
SEVERAL = IDENTITY + SEVERAL_LOOKS
SURROUNDINGS, FACE_ALONE = "surroundings", "face-alone"
VERIFICATION, EQUAL_ERROR = "verification", "verification, equal error rate"
TRUE_ACCEPT = "verification, true accept at 1 % false accept"
RETRIEVAL, WINDOWS = "retrieval", "same-photographs"
ROUNDS = 2000
# Their runs hold documents of their own form (`models.evidence.whole`), no shares of images.
WHOLE = ("detection", "distance")
BUILDABLE = ("mask", "pair")
REFERENCES = ("baseline", "paper", "handmade")
# The goals of the project: at most this share of the people known, and at least this share of faces told apart.
GOAL_IDENTITY, GOAL_IDENTITY_FACE = 0.05, 0.92
GOAL_TIMES_CHANCE, GOAL_CHANCE_FACE = 2.0, 0.88
# The mean over people of their own shares, of which chance is one in so many people; or the share of test images, of
# which whoever has most images is worth more than chance.
COUNTED = {"people": "per_class", "images": "mean"}

Row = dict[str, Any]


def summarised(facts: list[Row], runs: Iterable[Run]) -> list[Row]:
    """The subjects (`evaluate.facts`) with their "results": by measure the attackers' summaries and the headline; and
    with "detection" and "distance" where they were asked.

    The headline is the attacker with the largest mean over its seeds: who defends against the strongest defends against
    the others. Everything is a JSON object.
    """
    runs = list(runs)
    grouped: dict[str, dict[str, dict[str, list[tuple[int, Measure]]]]] = {}
    for run in runs:
        for name, measure in run.results.items():
            if name in WHOLE:
                continue
            mine = grouped.setdefault(run.key.subject, {}).setdefault(name.removesuffix(MEANS), {})
            attacker = run.key.attacker + (MEANS if name.endswith(MEANS) else "")
            mine.setdefault(attacker, []).append((run.key.seed, measure))
    rows = []
    for fact in facts:
        results: Row = {}
        for name, attackers in grouped.get(fact["digest"], {}).items():
            if name == VERIFICATION:
                results |= verification_results(attackers)
                continue
            summaries = {attacker: share_summary(seeds) for attacker, seeds in attackers.items()}
            best = max(summaries, key=lambda attacker: summaries[attacker]["mean"])
            results[name] = {"headline": best, "attackers": summaries}
        rows.append(fact | {"results": results} | _whole(fact["digest"], runs))
    return rows


def _whole(subject: str, runs: list[Run]) -> Row:
    """What was found in whole scenes and at every size: the first seed's document, and every seed's precision."""
    found: Row = {}
    for name in WHOLE:
        mine = sorted(
            (run for run in runs if run.key.subject == subject and name in run.results), key=lambda run: run.key.seed
        )
        if mine:
            found[name] = dict(mine[0].results[name])
            if name == "detection":
                found[name]["ap_by_seed"] = [run.results[name]["ap"]["value"] for run in mine]
    return found


def share_summary(seeds: list[tuple[int, Measure]]) -> Row:
    """One attacker's shares over its seeds.

    mean: over the seeds. interval_95: Wilson's, for that share of the test images of one run: the seeds share their
    test images, so they are not counted again. per_class, train_accuracy: means over the seeds. by_seed: each.
    """
    ordered = [measure for _, measure in sorted(seeds, key=lambda one: one[0])]
    mean = float(np.mean([one["accuracy"] for one in ordered]))
    n = int(ordered[0]["n"])
    trained = [one["train_accuracy"] for one in ordered]
    return {
        "mean": mean,
        "interval_95": list(wilson_interval(round(mean * n), n)),
        "n": n,
        "per_class": float(np.mean([one["per_class"] for one in ordered])),
        "train_accuracy": None if None in trained else float(np.mean(trained)),
        "n_train": int(ordered[0]["n_train"]),
        "chance": float(ordered[0]["chance"]),
        "constant": float(ordered[0]["constant"]),
        "seeds": len(ordered),
        "by_seed": [float(one["accuracy"]) for one in ordered],
    }


def verification_results(attackers: dict[str, list[tuple[int, Measure]]]) -> Row:
    """Verification as two results, each with its own headline: the equal error rate, where the smallest is the
    strongest attacker, and the true accepts at 1 % false accepts.

    interval_95: the mean of the seeds' intervals (a bootstrap over people each); n: genuine pairs.
    """
    found: Row = {}
    for name, key, strongest in ((EQUAL_ERROR, "eer", min), (TRUE_ACCEPT, "true_accept", max)):
        summaries: dict[str, Row] = {}
        for attacker, seeds in attackers.items():
            ordered = [measure for _, measure in sorted(seeds, key=lambda one: one[0])]
            trained = [one.get("train_accuracy") for one in ordered]
            summaries[attacker] = {
                "mean": float(np.mean([one[key] for one in ordered])),
                "interval_95": [float(value) for value in np.mean([one[f"{key}_95"] for one in ordered], axis=0)],
                "n": int(ordered[0]["genuine_pairs"]),
                "people": int(ordered[0]["people"]),
                "train_accuracy": None if None in trained else float(np.mean([one or 0.0 for one in trained])),
                "chance": float(ordered[0]["chance"][key]),
                "seeds": len(ordered),
                "by_seed": [float(one[key]) for one in ordered],
            }
            if name == EQUAL_ERROR and "curve" in ordered[0]:
                rates = np.mean([one["curve"]["true_accept"] for one in ordered], axis=0)
                curve = {"false_accept": ordered[0]["curve"]["false_accept"], "true_accept": rates.tolist()}
                summaries[attacker]["curve"] = curve
        best = strongest(summaries, key=lambda attacker: float(summaries[attacker]["mean"]))
        found[name] = {"headline": best, "attackers": summaries}
    return found


def headline(row: Row, measure: str) -> Row | None:
    """The summary of a subject's headline attacker for a measure, or None where there is no run."""
    result = row["results"].get(measure)
    return result["attackers"][result["headline"]] if result else None


def right_share(row: Row, measure: str, runs: Iterable[Run]) -> NDArray[np.float64]:
    """For each test image the share of seeds whose headline attacker was right, float64 (n,)."""
    result = row["results"][measure]
    seen = [
        correct_images(run.results[measure])
        for run in runs
        if run.key.subject == row["digest"] and run.key.attacker == result["headline"] and measure in run.results
    ]
    return np.asarray(np.mean(seen, axis=0), np.float64)


def difference(
    one: NDArray[np.float64], other: NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Mean of `one` - `other` over the same test images, with its 95 % interval: images drawn anew with replacement,
    both subjects' answers together (a paired bootstrap; Efron and Tibshirani 1993, chapter 16)."""
    if one.shape != other.shape:
        raise ValueError(f"only answers to the same images can be compared, got {len(one)} and {len(other)}")
    gap = one - other
    drawn = gap[rng.integers(len(gap), size=(ROUNDS, len(gap)))].mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(gap.mean()), float(low), float(high)


def compare(identity: tuple[float, float, float], face: tuple[float, float, float]) -> str:
    """Whether the first of two subjects is at least as good on both axes and surely better on one.

    identity, face: first less second, as (mean, low, high) of the 95 % interval. Less identity and more faces is
    better. "beats": its means are no worse on either axis, and on one the interval excludes equality. "beats within
    the interval": surely better on one axis, and its mean on the other is worse by less than the interval can tell.
    "loses": the other one beats it. "open": none of these.
    """
    private, useful = -np.array(identity)[[0, 2, 1]], np.array(face)
    surely = [axis[1] > 0 for axis in (private, useful)]
    surely_worse = [axis[2] < 0 for axis in (private, useful)]
    if any(surely) and min(private[0], useful[0]) >= 0:
        return "beats"
    if any(surely_worse) and max(private[0], useful[0]) <= 0:
        return "loses"
    if any(surely) and not any(surely_worse):
        return "beats within the interval"
    return "open"


def verdicts(rows: list[Row], runs: list[Run], rng: np.random.Generator) -> list[Row]:
    """Each of ours that can be built against every reference, where both axes are known: JSON objects with ours,
    reference, identity and face (mean difference, low, high) and the verdict of `compare`."""
    answers = {
        row["name"]: (right_share(row, IDENTITY, runs), right_share(row, FACE, runs))
        for row in rows
        if IDENTITY in row["results"] and FACE in row["results"]
    }
    known = [row for row in rows if row["name"] in answers]
    found = []
    for ours in (row for row in known if row["kind"] == "ours" and row["build"] in BUILDABLE):
        for reference in (row for row in known if row["kind"] in REFERENCES):
            both = zip(answers[ours["name"]], answers[reference["name"]], strict=True)
            gaps = [difference(mine, its, rng) for mine, its in both]
            found.append(
                {
                    "ours": ours["name"],
                    "reference": reference["name"],
                    "reference_kind": reference["kind"],
                    "identity": list(gaps[0]),
                    "face": list(gaps[1]),
                    "verdict": compare(gaps[0], gaps[1]),
                }
            )
    return found


def goals(rows: list[Row], found: list[Row]) -> list[Row]:
    """The project's goals, each with whether it is reached and, if not, how far the nearest of ours is from it.

    Identity is counted by person; "by_image" says the same with it counted by image. Only subjects that can be built
    count. "nearest": the one with the smallest sum of what is missing on both axes.
    """
    ours = [row for row in rows if row["kind"] == "ours" and row["build"] in BUILDABLE]
    references = list(dict.fromkeys(one["reference"] for one in found))
    beaten = {
        name: [one["ours"] for one in found if one["reference"] == name and one["verdict"] == "beats"]
        for name in references
    }
    rest = [name for name in references if not beaten[name]]
    result: list[Row] = [
        {
            "goal": "for each reference one of ours that can be built, no worse on both axes and surely better on one",
            "reached": bool(references) and not rest,
            "beaten": beaten,
            "not_beaten": rest,
        }
    ]
    for words, limit, least in (
        (
            f"identity at most {GOAL_IDENTITY:.0%}, face or no face at least {GOAL_IDENTITY_FACE:.0%}",
            None,
            GOAL_IDENTITY_FACE,
        ),
        (
            f"best attacker, from one look or several, within {GOAL_TIMES_CHANCE:g} times chance, face or no face at "
            f"least {GOAL_CHANCE_FACE:.0%}",
            GOAL_TIMES_CHANCE,
            GOAL_CHANCE_FACE,
        ),
    ):
        counted = {name: _nearest(ours, limit, least, by) for name, by in COUNTED.items()}
        result.append({"goal": words} | counted["people"] | {"by_image": counted["images"]})
    return result


def _nearest(ours: list[Row], times_chance: float | None, least_face: float, by: str) -> Row:
    """How near the nearest of ours is to a goal, with identity counted `by` person or image (`COUNTED`)."""
    candidates = []
    for row in ours:
        who, face = headline(row, IDENTITY), headline(row, FACE)
        if who is None or face is None:
            continue
        # A name is a name, whether a classifier or the nearest training image gives it; several looks count where the
        # best attacker of all is held against chance.
        ways = (IDENTITY, RETRIEVAL) if times_chance is None else (IDENTITY, RETRIEVAL, SEVERAL)
        asked = [row["results"][way]["attackers"].values() for way in ways if way in row["results"]]
        known = max(float(one[by]) for attackers in asked for one in attackers)
        limit = GOAL_IDENTITY if times_chance is None else times_chance * who["chance"]
        missing = {"identity": max(0.0, known - limit), "face": max(0.0, least_face - face["mean"])}
        candidates.append((sum(missing.values()), row["name"], known, face["mean"], missing))
    if not candidates:
        return {"reached": False, "nearest": None}
    total, name, known, face_share, missing = min(candidates)
    return {"reached": total == 0, "nearest": name, "identity": known, "face": face_share, "missing": missing}
