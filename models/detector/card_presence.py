"""The part of a model card that says whether a sensor with the bundle knows that somebody is there."""

import textwrap
from collections.abc import Sequence

from models.detector.card_privacy import percent
from optics.bundle_evidence import Findings
from optics.bundle_presence import Counted, ScenePresence

# Average precision below which most faces are not found.
MOSTLY_MISSED = 0.15
# Recall or specificity of a scene below which presence is wrong more often than right of occupied, or empty, frames.
MOSTLY_WRONG = 0.5


def mostly_missed(found: Findings) -> bool:
    """Whether detection in whole scenes was measured, and finds almost nobody."""
    return found.detection is not None and found.detection.value < MOSTLY_MISSED


def wrong_scenes(found: Findings) -> list[str]:
    """Scenes in which most of the occupied frames, or most of the empty ones, were taken for the other."""
    return [
        scene.scene
        for scene in found.presence
        if any(share is not None and share.value < MOSTLY_WRONG for share in (scene.recall, scene.specificity))
    ]


def tells_presence(found: Findings) -> bool:
    """Whether both occupied and empty frames were measured, and no scene is among `wrong_scenes`."""
    both = any(scene.recall for scene in found.presence) and any(scene.specificity for scene in found.presence)
    return both and not wrong_scenes(found)


def presence_section(found: Findings) -> str:
    """How often "occupied" was right in each scene, with what it takes to judge that; "" where it was not measured."""
    if not found.presence:
        return ""
    lengths = " or ".join(dict.fromkeys(f"{scene.block_s:g} s" for scene in found.presence))
    versions = " or ".join(dict.fromkeys(str(scene.version) for scene in found.presence))
    told = [
        "Whether somebody is there comes from change against the learned empty room; a face that is found counts too. "
        "Each scene was played whole through the simulated camera with this encoding and this detector "
        "(`canopic score`). Frames whose truth is uncertain are left out. Precision: of frames called occupied, those "
        "with somebody. Recall: of frames with somebody, those called occupied. The first interval (95 %) takes frames "
        f"for independent, which those of one visit are not; the second comes from resampling blocks of {lengths}. "
        "What a claim about another room rests on is the number of visits and of scenes. "
        f"The answers are those of version {versions} of the presence model: a sensor with another gives others.",
        "Always answering occupied has a recall of 100 %, calls no empty frame empty, and has the precision in the "
        "last column.",
    ]
    rows = [
        '| scene | visits | frames occupied | precision | recall | empty frames called empty | always "occupied" |',
        "|---|---|---|---|---|---|---|",
    ]
    rows += [_row(scene) for scene in found.presence]
    return "\n\n".join(
        ["## Does it know that somebody is there?", _wrapped(told[0]), "\n".join(rows), _wrapped(told[1])]
        + [_wrapped(sentence) for sentence in (_where_from(found.presence), _verdict(found), _count(found)) if sentence]
    )


def _row(scene: ScenePresence) -> str:
    shares = " | ".join(_share(share) for share in (scene.precision, scene.recall, scene.specificity))
    constant = percent(scene.occupied_frames / scene.frames)
    light = (
        f", light {', '.join(f'x {factor:g} from {at_s:g} s' for at_s, factor in scene.light)}" if scene.light else ""
    )
    return (
        f"| {scene.scene}{light} (seed {scene.seed}) | {scene.visits} | {scene.occupied_frames} of {scene.frames} "
        f"| {shares} | {constant} |"
    )


def _share(share: Counted | None) -> str:
    if share is None:
        return "no such frame"
    blocks = ""
    if share.block_low is not None and share.block_high is not None:
        blocks = f"; {percent(share.block_low)} to {percent(share.block_high)}"
    return f"{share.hits}/{share.n}, {percent(share.value)} ({percent(share.low)} to {percent(share.high)}{blocks})"


def _where_from(scenes: Sequence[ScenePresence]) -> str:
    recorded = [scene.scene for scene in scenes if not scene.built_in]
    made_up = (
        "The scene demo is made up (two portraits that walk through a picture). " if len(recorded) < len(scenes) else ""
    )
    if not recorded:
        return f"{made_up}No recording was scored: nothing is known of a real room."
    number = "One recording is" if len(recorded) == 1 else f"{len(recorded)} recordings are"
    return f"{made_up}{number} few ({', '.join(recorded)}): of another room they say little, so try it in yours."


def _verdict(found: Findings) -> str:
    wrong = wrong_scenes(found)
    if wrong:
        return (
            f'Do not rely on "empty" or "occupied": in {", ".join(wrong)} most of the occupied frames, or most of the '
            "empty ones, were taken for the other."
        )
    return "" if tells_presence(found) else "Occupied and empty frames were not both scored: this tells neither apart."


def _count(found: Findings) -> str:
    """What the count says where faces are not found; docs in host/occupancy.py."""
    if not mostly_missed(found) or found.detection is None:
        return ""
    exact = ", ".join(
        f"{scene.count_exact.hits} of {scene.count_exact.n} frames of {scene.scene}"
        for scene in found.presence
        if scene.count_exact is not None
    )
    return (
        f"Do not rely on the count: faces are hardly found (average precision {found.detection.value:.3f}), and where "
        "none is found the count is 1 for as long as the room is occupied, however many people are there. It was exact "
        f"in {exact}, empty frames and those with one person among them."
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)
