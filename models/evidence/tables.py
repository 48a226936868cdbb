"""The evidence as a page to read: what was compared and how, the table, which of ours beats which, and the goals."""

from typing import Any

from models.evidence.report import (
    EQUAL_ERROR,
    FACE,
    FACE_ALONE,
    IDENTITY,
    RETRIEVAL,
    SEVERAL,
    SEVERAL_LOOKS,
    SURROUNDINGS,
    TRUE_ACCEPT,
    WINDOWS,
    headline,
)
from models.evidence.settings import CONTROLS, PRETRAINED

BUILDS = {"mask": "mask", "pair": "pair of masks", "no": "not realisable", "-": "-"}
MEMORISING = (
    "An attacker that names nearly all of its training images and few of the test images has memorised its training "
    "set: with more people, more images or another training it could do better, so its test figure understates what "
    "leaks. Where the training share is itself low, the codes give it little to hold on to, or it was trained too "
    "briefly."
)


def page(document: dict[str, Any]) -> str:
    """The evidence (`evaluate.evidence`) as Markdown."""
    parts = ["# Evidence", ""]
    if document["quick"]:
        parts += [
            "**QUICK: few images, few steps, one seed. A trial of the machinery; its numbers are not for quoting.**",
            "",
        ]
    parts += _method(document) + main_table(document["subjects"]) + ["", MEMORISING, ""]
    parts += (
        verification_table(document["subjects"])
        + known_by_table(document["subjects"])
        + attackers_table(document["subjects"])
        + _verdicts(document["verdicts"])
        + _goals(document["goals"])
    )
    return "\n".join(parts).rstrip() + "\n"


def _method(document: dict[str, Any]) -> list[str]:
    settings = document["settings"]
    words = (
        f"Every subject meets the same images and the same kinds of attackers, each trained afresh on its codes alone: "
        f"{', '.join(settings['attackers'])} at {settings['width']:g} of the published width, {settings['seeds']} seed"
        f"{'s' if settings['seeds'] > 1 else ''}{_fewer(settings)}. A figure is the mean over seeds of the attacker "
        "with the largest mean; in brackets the 95 % Wilson interval for the test images of one run, since seeds share "
        "their images. "
        "Attackers know kernels, thresholds and the noise of parts; looks of encodings with a fixed range carry that "
        f"noise. Several looks: {settings['looks']} measurements of a face at sub-cell shifts, of which the mean of "
        "the logits, or of the codes before they are named, is taken: whichever attacker makes more of them."
    )
    return [words, ""]


def _fewer(settings: dict[str, Any]) -> str:
    """Which attackers had fewer seeds than the others: the pretrained one where asked, and controls."""
    asked, seeds = settings["attackers"], settings["seeds"]
    fewer = []
    if PRETRAINED in asked and (settings.get("pretrained_seeds") or seeds) < seeds:
        fewer.append(f"{settings['pretrained_seeds']} of the pretrained one")
    if seeds > 1 and (controls := [one for one in asked if one in CONTROLS]):
        fewer.append(f"1 of {' and '.join(controls)}")
    return f" ({', '.join(fewer)})" if fewer else ""


def main_table(rows: list[dict[str, Any]]) -> list[str]:
    """One line per subject: how it is built, its bits, and the headline of each question."""
    lines = [
        "| subject | built as | levels | bits | identity % | per person % | several looks % | on training images % "
        "| face / no face % | same photographs % |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        who, face = headline(row, IDENTITY), headline(row, FACE)
        lines.append(
            "| "
            + " | ".join(
                [
                    row["name"],
                    BUILDS[row["build"]],
                    str(row.get("effective_levels", "-")),
                    f"{row['bits_per_measurement']:.0f}" if "bits_per_measurement" in row else "-",
                    _share(who),
                    _percent(who, "per_class"),
                    _share(headline(row, SEVERAL)),
                    _percent(who, "train_accuracy"),
                    _share(face),
                    _share(headline(row, WINDOWS)),
                ]
            )
            + " |"
        )
    first = next((row for row in rows if row["results"]), None)
    if first is not None:
        chances = [headline(first, name) for name in (IDENTITY, SEVERAL, FACE, WINDOWS)]
        even = [f"{100 * one['chance']:.1f}" if one else "" for one in chances]
        lines.append(f"| chance | | | | {even[0]} | {even[0]} | {even[1]} | | {even[2]} | {even[3]} |")
        same = [f"{100 * one['constant']:.1f}" if one else "" for one in chances]
        lines.append(f"| best constant answer | | | | {same[0]} | {even[0]} | {same[1]} | | {same[2]} | {same[3]} |")
    return lines


def verification_table(rows: list[dict[str, Any]]) -> list[str]:
    """Same person or not, for people whom no attacker knows; and what weak attackers find. Nothing where not asked."""
    if not any(headline(row, EQUAL_ERROR) for row in rows):
        return []
    lines = [
        "## Unseen people, and weak attackers",
        "",
        "Verification: do two looks show the same person, for people in no training part? Equal error rate: 50 % is "
        "chance, less leaks more. True accept: at 1 % false accepts, 1 % is chance. Intervals: bootstrap over people. "
        "Retrieval: the nearest training image by what the strongest network's last layer reads. Nearest and linear: "
        "the nearest training image and a linear probe on the codes themselves.",
        "",
        "| subject | equal error % | true accept % | retrieval % | nearest % | linear % |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        controls = row["results"].get(IDENTITY, {"attackers": {}})["attackers"]
        cells = [_share(headline(row, name)) for name in (EQUAL_ERROR, TRUE_ACCEPT, RETRIEVAL)]
        cells += [_share(controls.get(name)) for name in CONTROLS]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return [*lines, ""]


def known_by_table(rows: list[dict[str, Any]]) -> list[str]:
    """Who it is with the face covered, and with all but the face covered. Nothing where not asked."""
    asked = [row for row in rows if any(headline(row, name) for name in (SURROUNDINGS, FACE_ALONE))]
    if not asked:
        return []
    lines = [
        "## What people are known by",
        "",
        "Photographs of one person are often of one event: the same light, clothes and background. Who it is, asked of "
        "the same crops: whole; with an ellipse around the face filled with the mean colour of the rest; and with all "
        "but that ellipse filled with the mean colour of the face. The best attacker of each, trained afresh on crops "
        "of that kind (the pretrained one is asked of whole crops alone).",
        "",
        "| subject | whole % | several looks % | face covered % | several looks % | face alone % | several looks % |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in asked:
        names = [name + more for name in (IDENTITY, SURROUNDINGS, FACE_ALONE) for more in ("", SEVERAL_LOOKS)]
        lines.append(f"| {row['name']} | {' | '.join(_share(headline(row, name)) for name in names)} |")
    return [*lines, ""]


def scenes_table(rows: list[dict[str, Any]]) -> list[str]:
    """Faces found in scenes and how small a face must be for identity to be near chance. Nothing where not asked."""
    lines = []
    if any("detection" in row for row in rows):
        lines += [
            "## Faces in scenes",
            "",
            "The same detector for every subject, trained on what the subject measures. AP at IoU 0.5 with its 95 % "
            "interval (bootstrap over photographs, first seed); found: at one false positive per photograph.",
            "",
            "| subject | AP | each seed | found % | faces | photographs |",
            "|---|---|---|---|---|---|",
        ]
        for row in (one for one in rows if "detection" in one):
            found = row["detection"]
            low, high = found["ap"]["interval_95"]
            seeds = ", ".join(f"{value:.3f}" for value in found["ap_by_seed"])
            rate = 100 * found["true_positive_rate_at"]["1"]["value"]
            lines.append(
                f"| {row['name']} | {found['ap']['value']:.3f} ({low:.3f}..{high:.3f}) | {seeds} | {rate:.1f} "
                f"| {found['faces']} | {found['photographs']} |"
            )
        lines.append("")
    if any("distance" in row for row in rows):
        sizes = next(row["distance"]["sizes_px"] for row in rows if "distance" in row)
        lines += [
            "## Against the size of the face",
            "",
            "Identity, % named right (mean over people) at each size of the face's larger side in pixels, by the "
            "strongest of the first network of this evaluation and the controls, one seed, from one look or several; "
            "every image is tested once, in folds. Private: up to which size the one-sided 95 % bound is within twice "
            "chance, there and at every smaller one.",
            "",
            f"| subject | {' | '.join(f'{size:g}' for size in sizes)} | private below, px |",
            "|---|" + "---|" * (len(sizes) + 1),
        ]
        for row in (one for one in rows if "distance" in one):
            shares = " | ".join(f"{100 * share:.1f}" for share in row["distance"]["identity"])
            below = row["distance"]["private_below_px"]
            lines.append(f"| {row['name']} | {shares} | {'none' if below is None else f'{below:g}'} |")
        lines.append("")
    return lines


def attackers_table(rows: list[dict[str, Any]]) -> list[str]:
    """One line per subject, question and attacker: every seed, n, and how the attacker does on its training images."""
    lines = [
        "## Every attacker",
        "",
        "| subject | question | attacker | mean % | each seed % | n | on training images % | n training |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for name, result in row["results"].items():
            for attacker, found in result["attackers"].items():
                seeds = ", ".join(f"{100 * value:.1f}" for value in found["by_seed"])
                mark = " (headline)" if attacker == result["headline"] else ""
                lines.append(
                    f"| {row['name']} | {name} | {attacker}{mark} | {_share(found)} | {seeds} | {found['n']} "
                    f"| {_percent(found, 'train_accuracy')} | {found.get('n_train', '-')} |"
                )
    return [*lines, ""]


def _verdicts(found: list[dict[str, Any]]) -> list[str]:
    if not found:
        return []
    lines = [
        "## Which of ours beats which",
        "",
        "Differences in points with their 95 % interval (paired bootstrap over test images). Beats: no worse on either "
        "axis, and better on one beyond the interval. Within the interval: the other axis is worse in the mean by less "
        "than the interval can tell. The bootstrap draws images, not people nor trainings; the intervals are not "
        f"corrected for their number ({len(found)}, on two axes each): of equals, about one in forty seems better by "
        "chance.",
        "",
        "| ours | against | identity | face / no face | verdict |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {one['ours']} | {one['reference']} | {_gap(one['identity'])} | {_gap(one['face'])} | {one['verdict']} |"
        for one in found
    ]
    return [*lines, ""]


def _goals(goals: list[dict[str, Any]]) -> list[str]:
    lines = ["## Goals", "", "Identity is counted by person: nobody counts for more than another.", ""]
    for goal in goals:
        words = "reached" if goal["reached"] else "not reached"
        if goal.get("not_beaten"):
            words += f"; not beaten: {', '.join(goal['not_beaten'])}"
        if goal.get("nearest"):
            words += f"; {_nearest(goal)}"
            words += f". Counted by image {'reached' if goal['by_image']['reached'] else 'not reached'}; "
            words += _nearest(goal["by_image"])
        lines.append(f"- {goal['goal']}: {words}")
    return [*lines, ""]


def _nearest(found: dict[str, Any]) -> str:
    words = (
        f"nearest is {found['nearest']}: identity {100 * found['identity']:.1f} %, "
        f"face or no face {100 * found['face']:.1f} %"
    )
    if found["reached"]:
        return words
    missing = found["missing"]
    return f"{words} (missing {100 * missing['identity']:.1f} and {100 * missing['face']:.1f} points)"


def _share(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    low, high = found["interval_95"]
    return f"{100 * found['mean']:.1f} ({100 * low:.1f}..{100 * high:.1f})"


def _percent(found: dict[str, Any] | None, name: str) -> str:
    return "-" if found is None or found[name] is None else f"{100 * found[name]:.1f}"


def _gap(gap: list[float]) -> str:
    mean, low, high = (100 * value for value in gap)
    return f"{mean:+.1f} ({low:+.1f}..{high:+.1f})"
