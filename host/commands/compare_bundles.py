"""canopic bundle compare: what bundles give away beside what they keep, from the evidence inside them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from host.commands.common import DONE, FAILED, WRONG_INPUT, expected, out, print_json, say
from models.presence import VERSION
from optics.archive import BundleError
from optics.bundle import Bundle, read_bundle, resolve_bundle, shipped_bundles
from optics.bundle_evidence import (
    EQUAL_ERROR,
    FACE,
    IDENTITY,
    RETRIEVAL,
    SAME_PHOTOGRAPHS,
    SEVERAL_LOOKS,
    TRUE_ACCEPT,
    Findings,
    Measured,
    findings,
    protocols_differ,
)
from optics.bundle_presence import Counted
from optics.description import describe

NOT_MEASURED = "not measured"
# Of detection in bundles from before evaluations named what they had measured.
NOT_BOUND = "not bound"
ROWS = (
    (IDENTITY, "identity, one look (best attacker)"),
    (SEVERAL_LOOKS, "identity, several looks"),
    (RETRIEVAL, "identity, nearest picture"),
    (EQUAL_ERROR, "verification, equal error rate"),
    (TRUE_ACCEPT, "verification, true accept at 1 %"),
    (FACE, "face or no face"),
    (SAME_PHOTOGRAPHS, "the same, both from the same photographs"),
)
LEGEND = (
    "In brackets 95 % intervals. Identity: who of the people it is, by the best of the freshly trained attackers; less "
    "is more private. Verification: are two pictures of one person, of people that no attacker was trained on; an "
    "equal error rate of 50 % is chance, and so is 1 % true accept at 1 % false accept. Detection: average precision "
    "at IoU 0.5 in scenes; its ceiling is the same network on the unencoded picture. Bits: entropy of a face crop's "
    "codes, which bounds what a measurement of it holds. "
    "Presence: of the frames with somebody, those called occupied (recall), and of the frames called occupied, those "
    "with somebody (precision), in a scene played whole through a simulated camera; the first interval takes frames "
    "for independent, the second comes from resampling blocks of them."
)


def compare(names: Sequence[str], figure: Path | None, as_json: bool) -> int:
    """Print bundles beside each other (`names` empty: all that ship); `figure`: .png with the privacy-utility plane."""
    with expected(BundleError, status=WRONG_INPUT):
        bundles = _read(names)
        found = {name: _findings(name, bundle) for name, bundle in bundles.items()}
    warnings = [*protocols_differ(found), *(line for name in found for line in presence_is_anothers(name, found[name]))]
    if as_json:
        print_json({"bundles": [_as_json(name, bundles[name], found[name]) for name in bundles], "warnings": warnings})
    else:
        out().print(_table(bundles, found))
        out().print(" ".join([LEGEND, *_rules(found)]))
    for warning in warnings:
        say(f"canopic: {warning}")
    if figure is not None:
        from host.figures.bundles import draw

        with expected(OSError, status=FAILED):
            draw(found, figure)
        if not as_json:
            out().print(f"figure: {figure}")
    return DONE


def _read(names: Sequence[str]) -> dict[str, Bundle]:
    """Bundles by the name to show: a shipped one's, a file's without its ending, or its path where two are alike."""
    found: dict[str, Bundle] = {}
    read: set[Path] = set()
    for given in names or shipped_bundles():
        path = resolve_bundle(given)
        if path.resolve() in read:
            raise BundleError(f"{given} is named twice: give each bundle once")
        read.add(path.resolve())
        shown = given if given in shipped_bundles() else path.stem
        if shown in found or (shown != given and shown in shipped_bundles()):
            shown = str(path)
        found[shown] = read_bundle(path)
    return found


def _findings(name: str, bundle: Bundle) -> Findings:
    try:
        return findings(bundle)
    except BundleError as error:
        raise BundleError(f"{name}: {error}") from error


def _table(bundles: dict[str, Bundle], found: dict[str, Findings]) -> Table:
    table = Table(box=None, pad_edge=False, show_lines=False)
    table.add_column("", style="dim")
    for name in bundles:
        table.add_column(name, overflow="fold")
    columns = [_column(bundles[name], found[name]) for name in bundles]
    # Sizes that only some bundles have a number for stay in the order of the first that has them.
    for row in dict.fromkeys(row for column in columns for row in column):
        table.add_row(row, *(column.get(row, NOT_MEASURED) for column in columns))
    return table


def _column(bundle: Bundle, found: Findings) -> dict[str, str]:
    encoding = describe(bundle)["encoding"]
    about = {
        "bundle": bundle.id[:12],
        "encoding": encoding["id"][:12],
        "can be built as": encoding["built_with"],
        "filters, kernel": f"{encoding['filters']}, {encoding['kernel_rows_px']} x {encoding['kernel_columns_px']} px",
        "pool, range": f"{encoding['pool_px']} px, {encoding['range']}",
        "levels": f"{encoding['effective_levels']} effective of 16",
        "models": ", ".join(f"{name} {len(content) / 1000:.0f} kB" for name, content in sorted(bundle.models.items()))
        or "none",
    }
    return about | measured(found)


def measured(found: Findings) -> dict[str, str]:
    """What a bundle's evidence says, in words for each thing that can be measured."""
    column = {"bits of a face crop": NOT_MEASURED if found.bits is None else f"at most {found.bits:.0f}"}
    for question, label in ROWS:
        attack = found.attacks.get(question)
        column[label] = NOT_MEASURED if attack is None else _attack(attack)
    column["detection in scenes"] = NOT_MEASURED if found.detection is None else _precision(found.detection)
    if found.detection is not None and not found.detection_bound:
        column["detection in scenes"] += f"\n{NOT_BOUND}"
    column["  its ceiling, unencoded"] = NOT_MEASURED if found.ceiling is None else _precision(found.ceiling)
    share = found.share_of_ceiling
    column["  share of the ceiling"] = NOT_MEASURED if share is None else f"{100 * share:.0f} %"
    for row in found.by_size:
        label = f"  faces of {row.from_px:g} to {row.to_px:g} px"
        codes = NOT_MEASURED if row.codes is None else _precision(row.codes)
        column[label] = codes if row.ceiling is None else f"{codes}\nceiling {row.ceiling.value:.3f}"
    if found.distance is not None:
        # Of the larger side on the sensor plane.
        below = found.distance.private_below_px
        column["identity near chance"] = "at no size measured" if below is None else f"faces up to {below:g} px"
    else:
        column["identity near chance"] = NOT_MEASURED
    column["presence in scenes"] = ", ".join(scene.scene for scene in found.presence) or NOT_MEASURED
    for scene in found.presence:
        column[f"  {scene.scene}, recall"] = _counted(scene.recall, "occupied frames")
        if scene.version != VERSION:
            column[f"  {scene.scene}, recall"] += f"\nby presence model {scene.version}, not {VERSION}"
        column[f"  {scene.scene}, precision"] = (
            _counted(scene.precision, "frames called occupied")
            + f"\nalways occupied: {_percent(scene.occupied_frames / scene.frames)}"
        )
    return column


def presence_is_anothers(name: str, found: Findings) -> list[str]:
    """A sentence where presence of the bundle called `name` was measured with another version of the presence model
    than the installed one; else none."""
    versions: dict[int, list[str]] = {}
    for scene in found.presence:
        if scene.version != VERSION:
            versions.setdefault(scene.version, []).append(scene.scene)
    return [
        f"presence of {name} in {', '.join(scenes)} was measured with presence model {version}, and {VERSION} is "
        "installed, whose answers may be others: score the scenes again (`canopic score`)"
        for version, scenes in versions.items()
    ]


def _rules(found: dict[str, Findings]) -> list[str]:
    """What "near chance" means to those that say so, and "not bound"."""
    rules = dict.fromkeys(one.distance.rule for one in found.values() if one.distance is not None)
    said = [f"Near chance: {rule}." for rule in rules]
    if any(one.detection is not None and not one.detection_bound for one in found.values()):
        said.append("Not bound: an older version measured it, without naming the encoding, the model and the pictures.")
    return said


def _attack(measured: Measured) -> str:
    lines = [f"{_percent(measured.value)} ({_percent(measured.low)} to {_percent(measured.high)})"]
    chance = "" if measured.chance is None else f"chance {_percent(measured.chance)}, "
    lines.append(f"{chance}n {measured.n}")
    if measured.attacker:
        seeds = "" if measured.seeds is None else f", {measured.seeds} seed{'s' if measured.seeds != 1 else ''}"
        lines.append(f"{measured.attacker}{seeds}")
    return "\n".join(lines)


def _precision(measured: Measured) -> str:
    return f"{measured.value:.3f} ({measured.low:.3f} to {measured.high:.3f})\nn {measured.n} faces"


def _counted(share: Counted | None, of: str) -> str:
    if share is None:
        return f"no {of}"
    lines = [f"{_percent(share.value)} ({_percent(share.low)} to {_percent(share.high)})"]
    if share.block_low is not None and share.block_high is not None:
        lines.append(f"blocks: {_percent(share.block_low)} to {_percent(share.block_high)}")
    return "\n".join([*lines, f"{share.hits} of {share.n} {of}"])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _as_json(name: str, bundle: Bundle, found: Findings) -> dict[str, Any]:
    about = describe(bundle)
    return {
        "name": name,
        "id": about["id"],
        "encoding": about["encoding"],
        "models": {model: {"bytes": entry["bytes"]} for model, entry in about["models"].items()},
        "measured": asdict(found) | {"share_of_ceiling": found.share_of_ceiling},
    }
