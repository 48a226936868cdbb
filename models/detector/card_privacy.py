"""The part of a model card that says what an attacker gets out of the codes, in plain sentences, from the evidence."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from optics.bundle_evidence import attackers_tried, best_of

QUESTIONS = {
    "identity": "who is it, one look",
    "identity, several looks": "who is it, several looks",
    "retrieval": "who is it, by the nearest picture",
    "verification, equal error rate": "same person or not: equal error rate",
    "verification, true accept at 1 % false accept": "same person or not: true accept at 1 % false accept",
    "face": "face or no face",
    "same-photographs": "face or no face, same photographs",
    "surroundings": "who is it, face covered",
    "face-alone": "who is it, all but the face covered",
}
# Who it is by what surrounds a face, and by the face.
COVERED = ("surroundings", "face-alone")
# Attackers that learn nothing of their own, or one layer: for comparison, as `canopic evaluate` calls them.
CONTROLS = ("nearest", "linear")
PRETRAINED = "pretrained"
# Answers to who it is: how the best of them does decides what is said of anonymity.
NAMING = ("identity", "identity, several looks", "retrieval")
# An attacker that is right on so many more of its training images than of the others has learned them by heart.
MEMORISED = 0.3


def percent(share: float) -> str:
    """A share as text, such as 12.3 %."""
    return f"{100 * share:.1f} %"


def interval(low_high: Sequence[float]) -> str:
    """Such as 10.1 % to 14.9 %."""
    return f"{percent(low_high[0])} to {percent(low_high[1])}"


def attacks_section(attacks: Mapping[str, Any]) -> str:
    """What the attackers of `canopic evaluate` found, with who they are and what they reach on other pictures.

    attacks: the bundle's evidence entry of that name. Raises KeyError where it lacks an identity attack.
    """
    settings = attacks["protocol"]["settings"]
    who = attacks["results"]["identity"]
    best = who["attackers"][who["headline"]]
    people = round(1 / best["chance"])
    sentences = [
        f"Attackers know the kernel, the thresholds and the noise of the parts, and have {best['n_train']} encoded "
        f"pictures of {people} people. They are trained afresh on codes: {_names(who['attackers'])}; networks at "
        f"{settings['width']:g} of their published width, as many times as the table says. The best of them "
        f"({who['headline']}) names the right person in {percent(best['mean'])} ({interval(best['interval_95'])}) of "
        f"{best['n']} other pictures of these people. Guessing names {percent(best['chance'])}, always the same name "
        f"at most {percent(best['constant'])}."
    ]
    if PRETRAINED in who["attackers"]:
        sentences.append(HEAD_START)
    several = attacks["results"].get("identity, several looks")
    if several is not None:
        found = several["attackers"][several["headline"]]
        sentences.append(
            f"From {settings['looks']} looks at the same face, each shifted by less than a cell, the best "
            f"({several['headline']}) names {percent(found['mean'])} ({interval(found['interval_95'])})."
        )
    retrieval = attacks["results"].get("retrieval")
    if retrieval is not None:
        found = retrieval["attackers"][retrieval["headline"]]
        sentences.append(
            f"Naming the person of the nearest training picture, by what the last layer of {retrieval['headline']} "
            f"reads, is right in {percent(found['mean'])} ({interval(found['interval_95'])})."
        )
    sentences += [_known_by(attacks["results"]), _memory(best), _judgement(attacks["results"]), SIZE_OF_FACES]
    rows = [
        "| question | attacker | share | 95 % | n | guessing | right on its training images |",
        "|---|---|---|---|---|---|---|",
    ]
    for question, label in QUESTIONS.items():
        result = attacks["results"].get(question)
        for name, one in (result["attackers"] if result else {}).items():
            rows.append(
                f"| {label} | {name}, {_seeds(one['seeds'])} | {percent(one['mean'])} | {interval(one['interval_95'])} "
                f"| {one['n']} | {percent(one['chance'])} | {_trained(one)} |"
            )
    bits = attacks.get("bits_per_measurement")
    if bits is not None:
        sentences.append(
            f"A measurement of a face crop ({attacks['codes_per_measurement']} codes) holds at most {bits:.0f} bits: "
            f"the entropy of each code over {attacks['faces_measured']} faces, added up."
        )
    told = [_wrapped(sentence) for sentence in sentences if sentence]
    parts = ["## What an attacker gets out of the codes", *told, "\n".join(rows), _beside(attacks)]
    return "\n\n".join(part for part in parts if part)


HEAD_START = (
    "The one called pretrained has a head start: from the codes of every face that an attacker may have, it first "
    "learned what a face embedding of unencoded faces says of the same pictures."
)
SIZE_OF_FACES = (
    "The faces of these pictures span about 48 px on the sensor plane. A larger face gives more away, a smaller one "
    "less."
)


def _known_by(results: Mapping[str, Any]) -> str:
    """How much of it is the face, and how much what surrounds it; empty where that was not asked."""
    found = [results[name]["attackers"][results[name]["headline"]] for name in COVERED if name in results]
    if len(found) < len(COVERED):
        return ""
    covered, alone = (f"{percent(one['mean'])} ({interval(one['interval_95'])})" for one in found)
    return (
        "Pictures of one person are often of one event, with the same light, clothes and background. With the face "
        f"covered by one colour, attackers trained on such pictures name {covered}; with everything else covered, "
        f"{alone}."
    )


def distance_section(distance: Mapping[str, Any]) -> str:
    """Identity and face detection by the size of the face, and up to which size identity is near chance."""
    private = distance["private_below_px"]
    told = f"Up to {private:g} px it is near chance" if private is not None else "At no size measured is it near chance"
    words = (
        f"Identity by the size of a face (its larger side on the plane), by {best_of(attackers_tried(distance))}, at "
        f"each size; guessing names {percent(distance['chance'])}. {told} ({distance['rule']}). Faces above 48 px are "
        "enlarged pictures with less detail than a face so close has: what leaks from one may be more."
    )
    lines = ["| face, px | identity | 95 % | face or no face |", "|---|---|---|---|"]
    faces = distance.get("face") or [None] * len(distance["sizes_px"])
    for size, share, low_high, face in zip(
        distance["sizes_px"], distance["identity"], distance["identity_95"], faces, strict=True
    ):
        told = "not measured" if face is None else percent(face)
        lines.append(f"| {size:g} | {percent(share)} | {interval(low_high)} | {told} |")
    return "\n\n".join(["## Distance", _wrapped(words), "\n".join(lines)])


def encoder_section(encoder: Mapping[str, Any]) -> str:
    """How the encoding was learned."""
    plan, counts = encoder["plan"], encoder["material"]["counts"]
    chain, privacy = plan["chain"], plan["privacy"]
    kept = encoder["kept"] or {}
    fresh = (
        f" On people of the learning, fresh networks named {percent(kept['identity']['accuracy'])} and told "
        f"{percent(kept['face']['accuracy'])} of faces from other pictures; {_used_for(plan)}."
        if {"identity", "face"} <= set(kept)
        else ""
    )
    words = (
        f"By alternating optimisation against recognition and detection networks (kernels: {chain['kernels']}, at most "
        f"{chain['levels']} levels, pool {chain['pool']}, alpha {privacy['alpha']:g}, seed {plan['seed']}), on "
        f"{counts['faces']} pictures of {counts['people']} people and {counts['negatives']} pictures without a face. "
        f"None of these people is in the evaluation. Cycle {encoder['kept_cycle']} of {encoder['cycles'] - 1} was "
        f"kept; the learning took {encoder['seconds'] / 60:.0f} min.{fresh}"
    )
    return f"## How the encoding was learned\n\n{_wrapped(words)}"


def _used_for(plan: Mapping[str, Any]) -> str:
    """What the numbers of the learning's fresh networks decided."""
    # Plans from before there was a choice kept the best.
    if plan.get("choice", {}).get("keep", "balance") == "balance":
        return "these numbers chose the cycle and are no evidence"
    stopping = plan.get("schedule", {}).get("settled_cycles") is not None
    when = (
        "such numbers decided when the learning ended, its last cycle was kept"
        if stopping
        else "the last cycle was kept, whatever these numbers were"
    )
    return f"{when}, and they are no evidence, as encoder and attackers learned on the same people"


def older_identity_section(report: Mapping[str, Any]) -> str:
    """What `models.attackers.identity` found, in bundles from before `canopic evaluate`."""
    people = report["people"]
    lines = [
        f"| what the attacker sees | who, of {people} people | per person | on its training images | face or not |",
        "|---|---|---|---|---|",
    ]
    for name in (one for one in ("clean", "pixelate", "blur", "codes") if one in report["views"]):
        view = report["views"][name]
        who, face = view["identity"], view["face"]
        lines.append(
            f"| {name} | {percent(who['accuracy'])} ({interval(who['accuracy_95'])}) | {percent(who['per_class'])} "
            f"| {percent(who['train_accuracy'])} | {percent(face['accuracy'])} |"
        )
    lines.append(f"| chance | {percent(1 / people)} | {percent(1 / people)} | | 50.0 % |")
    codes = report["views"]["codes"]
    runs = len(codes["identity"]["runs"])
    table = "\n".join(lines)
    return f"""
## Identity that the codes still hold

A small network trained afresh on each view of LFW faces of 64 x 64 px: {codes["identity"]["n_train"]} training and
{codes["identity"]["n"]} test images, at most {report["most_per_person_and_part"]} of one person in either, mean of
{runs} seeds, Wilson intervals for one run's test images.
Exposure of the codes: {report["exposure"]}. Face or not: {codes["face"]["n"]} crops of other people and of no face.

{table}

**Codes do not make a person anonymous.** An attacker gets far more than chance out of them. These attackers overfit
(see their training images) and saw few faces: one with more pictures, several looks or a pretrained network finds more.
The faces here span about 48 px on the plane; a larger face gives more away.
"""


def _memory(best: Mapping[str, Any]) -> str:
    if best["train_accuracy"] is None or best["train_accuracy"] - best["mean"] < MEMORISED:
        return ""
    return (
        f"On its own training pictures that attacker is right in {percent(best['train_accuracy'])}: it has learned "
        "them by heart, so with more pictures or another training it would find more. The number understates what "
        "leaks."
    )


def _judgement(results: Mapping[str, Any]) -> str:
    found = [results[name]["attackers"][results[name]["headline"]] for name in NAMING if name in results]
    if any(one["interval_95"][0] > one["chance"] for one in found):
        return "Codes do not make a person anonymous: an attacker gets more than chance out of them."
    return (
        "These attackers are not told from guessing. That is no proof: a stronger one, or one with more pictures, may "
        "find more."
    )


def _beside(attacks: Mapping[str, Any]) -> str:
    """The same questions on other pictures, each by the attacker that is best there."""
    rows = [
        "The same attackers, trained afresh on what else the same pictures can become (the best for each):",
        "",
        "| pictures | who is it, one look | face or no face |",
        "|---|---|---|",
    ]
    results = attacks["results"]
    mine = {question: result["attackers"][result["headline"]] for question, result in results.items()}
    for name, found in ({"this bundle": mine} | dict(attacks["beside"])).items():
        cells = [
            f"{percent(found[question]['mean'])} ({interval(found[question]['interval_95'])})"
            if question in found
            else "not measured"
            for question in ("identity", "face")
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) if attacks["beside"] else ""


def _names(attackers: Mapping[str, Any]) -> str:
    controls = [name for name in attackers if name in CONTROLS]
    networks = ", ".join(name for name in attackers if name not in CONTROLS)
    return networks + (f", and {', '.join(controls)} as weak controls" if controls else "")


def _trained(one: Mapping[str, Any]) -> str:
    trained = one.get("train_accuracy")
    return "-" if trained is None else percent(trained)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count != 1 else ''}"
