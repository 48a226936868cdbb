"""Whether a sensor hangs too close: what its bundle's evidence says of faces as large as the nearest people have.

It only ever warns. A bound that was measured on a few dozen people is no proof in either direction, and a sensor that
is blind tells nobody that it hangs too close.
"""

from dataclasses import dataclass

from host.config import Config
from models.evidence.mounting import FACE_M, TIMES_CHANCE, distance_m, face_px
from optics.archive import BundleError
from optics.bundle import Bundle, read_bundle, resolve_bundle
from optics.bundle_evidence import Distance, best_of, findings


@dataclass(frozen=True, slots=True)
class Standpoint:
    """How large the nearest people's faces are: `nearest_m`, and `face_px` in pixels of the bundle's plane.

    `lens`: (focal length, pitch of the plane's pixels), metres.
    """

    nearest_m: float
    face_px: float
    lens: tuple[float, float]


def standpoint_of(config: Config) -> Standpoint | None:
    """What the configuration says of the mounting; None where it says nothing."""
    mounting = config.mounting
    if mounting.nearest_m is None or mounting.focal_length_mm is None or mounting.pixel_pitch_um is None:
        return None
    lens = (mounting.focal_length_mm * 1e-3, mounting.pixel_pitch_um * 1e-6)
    return Standpoint(mounting.nearest_m, face_px(mounting.nearest_m, *lens), lens)


def mounting_warning(config: Config, bundle: Bundle) -> str | None:
    """One sentence with the numbers where somebody as near as `mounting.nearest_m` may be known by the codes, or where
    the bundle's evidence cannot tell; None where the configuration is silent or the evidence says that it is well."""
    standpoint = standpoint_of(config)
    if standpoint is None:
        return None
    near = f"people as near as {standpoint.nearest_m:g} m have faces of {standpoint.face_px:.0f} px"
    try:
        distance = findings(bundle).distance
    except BundleError as error:
        return f"{near}, and what the bundle says of faces of that size cannot be read: {error}"
    if distance is None or not distance.sizes_px:
        return f"{near}, and the bundle holds no evidence of identity against the size of a face: expect to be known"
    bound = distance.private_below_px
    if bound is not None and standpoint.face_px <= bound:
        return None
    return f"{near}: {_known(distance, standpoint.face_px)}; {_instead(bound, standpoint.lens)}"


def mounting_warning_of(config: Config) -> str | None:
    """`mounting_warning` for the bundle that the configuration names; None where it cannot be read, which whoever reads
    it for use says."""
    if standpoint_of(config) is None:
        return None
    try:
        return mounting_warning(config, read_bundle(resolve_bundle(config.bundle)))
    except BundleError:
        return None


def mounting_text(config: Config) -> str | None:
    """The mounting in words where nothing is wrong with it; None where the configuration says nothing of it."""
    standpoint = standpoint_of(config)
    if standpoint is None:
        return None
    return (
        f"nearest people at {standpoint.nearest_m:g} m, faces of {standpoint.face_px:.0f} px "
        f"(a face of {FACE_M:g} m is assumed)"
    )


def _known(distance: Distance, size_px: float) -> str:
    """What the best of those who were tried reached at the first measured size no smaller, or at the largest one."""
    larger = [index for index, size in enumerate(distance.sizes_px) if size >= size_px]
    at = larger[0] if larger else len(distance.sizes_px) - 1
    beyond = "" if larger else ", the largest measured"
    return (
        f"at {distance.sizes_px[at]:g} px{beyond}, {best_of(distance.attackers)} tells {distance.identity[at]:.1%} "
        f"(up to {distance.identity_95[at][1]:.1%}) of {round(1 / distance.chance)} people right, "
        f"chance {distance.chance:.1%}"
    )


def _instead(bound_px: float | None, lens: tuple[float, float]) -> str:
    if bound_px is None:
        return f"at no measured size is it within {TIMES_CHANCE:g} times chance: use a more private bundle"
    return (
        f"with this bundle it is within {TIMES_CHANCE:g} times chance up to {bound_px:g} px, which is from "
        f"{distance_m(bound_px, *lens):.1f} m on: mount it that far away, or use a more private bundle"
    )
