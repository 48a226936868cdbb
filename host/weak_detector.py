"""Whether a bundle's own evidence says that its detector finds almost nobody, so that "empty" from it means little."""

from models.detector.card import MOSTLY_MISSED
from optics.archive import BundleError
from optics.bundle import Bundle
from optics.bundle_evidence import findings


def weak_detector_warning(bundle: Bundle) -> str | None:
    """One sentence with the numbers where detection in whole scenes was measured and is below `MOSTLY_MISSED`; None
    where it is not, was not measured, or cannot be read (who shows a bundle says that)."""
    try:
        found = findings(bundle)
    except BundleError:
        return None
    if found.detection is None or found.detection.value >= MOSTLY_MISSED:
        return None
    beside = "" if found.ceiling is None else f" (unencoded pictures: {found.ceiling.value:.2f})"
    return (
        f"this bundle's detector finds almost no faces in whole scenes: average precision {found.detection.value:.2f}"
        f'{beside}. Do not rely on its "empty"; for counting use the bundle default or useful'
    )
