"""Whether a bundle's own evidence says that its detector finds almost nobody, and what a sensor with it is still good
for: what was measured of presence, or nothing."""

from models.detector.card_presence import mostly_missed, tells_presence
from models.presence import VERSION
from optics.archive import BundleError
from optics.bundle import Bundle
from optics.bundle_evidence import Findings, findings
from optics.bundle_presence import ScenePresence


def weak_detector_warning(bundle: Bundle, by_change: bool = True) -> str | None:
    """One sentence with the numbers where detection in whole scenes was measured and almost nobody is found; None where
    that is not so, was not measured, or cannot be read (who shows a bundle says that).

    by_change: whether the sensor looks for change against the learned empty room (`presence.enabled`): what was
    measured of presence holds for such a sensor alone.
    """
    try:
        found = findings(bundle)
    except BundleError:
        return None
    if found.detection is None or not mostly_missed(found):
        return None
    beside = "" if found.ceiling is None else f" (unencoded pictures: {found.ceiling.value:.2f})"
    missed = (
        f"this bundle's detector finds almost no faces in whole scenes: average precision {found.detection.value:.2f}"
        f"{beside}"
    )
    instead = "for counting use the bundle default or useful"
    if not by_change or not found.presence:
        return f'{missed}. Do not rely on its "empty"; {instead}'
    said = f"{missed}. Whether somebody is there comes from change against the learned empty room: {_measured(found)}"
    if not tells_presence(found):
        return f'{said}. Do not rely on its "empty" or "occupied"; {instead}'
    return (
        f"{said}. Do not rely on the count: where no face is found it is 1 while the room is occupied, however many "
        f"are there; {instead}"
    )


def _measured(found: Findings) -> str:
    scenes = "; ".join(_scene(one) for one in found.presence)
    return f"measured on {'one scene' if len(found.presence) == 1 else f'{len(found.presence)} scenes'}, {scenes}"


def _scene(one: ScenePresence) -> str:
    """Such as "demo: somebody found in 335 of 335 occupied frames, nobody in 93 of 96 empty ones"."""
    parts = []
    if one.recall is not None:
        parts.append(f"somebody found in {one.recall.hits} of {one.recall.n} occupied frames")
    if one.specificity is not None:
        parts.append(f"nobody in {one.specificity.hits} of {one.specificity.n} empty ones")
    kind = " (made up)" if one.built_in else ""
    other = "" if one.version == VERSION else f" (by presence model {one.version}, here is {VERSION})"
    return f"{one.scene}{kind}: {', '.join(parts)}{other}"
