"""A point of light before a mask whose PSF is hidden: what `calibrate psf` has to find, and what can be wrong with it.

The mask that was made is not the one that was designed: it is turned a little in its mount, stands a little too near or
too far (scale), its axis misses the pixel's middle (shift), its light is unevenly spread (a smooth error of a few
percent) and a faint halo surrounds it, and the colours pass differently. Off the axis the PSF is blurred with the
square of the angle and dimmed by the fourth power of its cosine; a source at a finite distance d magnifies it by
1 + z / d, z being the distance of the sensor. All of it comes from the seed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from calibration.registration import rotation_shows
from host.calibrate.procedure import Setup
from host.calibrate.psf import designed_psf
from host.twin.bench import Bench
from host.twin.sensor import SensorModel
from optics.bundle import Bundle, default_bundle_path, read_bundle
from optics.metrics import moved

FAULTS: dict[str, str] = {
    "source_off": "the point source stays dark: LED dead, or its cable out",
    "too_bright": "the source saturates the sensor at its shortest exposure",
    "too_dim": "the source is so faint that no exposure reaches the wanted signal-to-noise ratio",
    "moving": "source or camera sways while it is measured",
    "two_sources": "a second point of light is switched together with the first: a reflection, or another LED",
    "mask_flipped": "the mask is mounted with its structured side towards the source: mirrored, and further away",
    "mask_missing": "there is no mask: the light falls through the open stop",
    "cover_off": "the lens cover is not on for the dark frames",
    "cover_on": "the lens cover is still on when the source is measured",
    "ambient_flicker": "the room's lamps flicker",
    "ambient_changed": "the room's light is switched on during the measurement",
    "source_out_of_field": "the source stands at the edge of what the sensor sees",
    "lights_the_room": "what is switched lights the room and whoever is in it, besides the mask",
}
# As the calibration tells a PSF in few numbers: sides of squares around its centre.
SQUARES_PX = (1, 3, 7, 13, 21)

# Geometry of a small camera: the mask 5 mm before the sensor, 12 um between pixels of a colour plane.
SENSOR_MM, PLANE_PIXEL_UM = 5.0, 12.0
# A mask's plate: turned round, its relief is so much further from the sensor (0.5 mm of glass, as light sees it).
PLATE_MM = 0.5 / 1.46
FARTHEST_TURN_DEG, MOST_SCALE_ERROR, MOST_SHIFT_PX = 3.0, 0.02, 0.4
AXIS_DISTANCE_MM = 1000.0


@dataclass(eq=False)
class PointWorld:
    """The plane behind the mask: the source where it stands, switched on or off, over the light of the room.

    mask_psf: float64 (3, side, side), what the made mask does to a point far away on the axis; its axis misses pixel
    n // 2 by shift_px. brightness: light of the source in green, in full scales of 10 ms summed over all pixels.
    gains: (3,) of the colours. ambient: float64 (3, rows, columns). drift_per_s: of the ambient light.
    """

    rows_px: int
    columns_px: int
    mask_psf: NDArray[np.float64]
    brightness: float
    gains: NDArray[np.float64]
    ambient: NDArray[np.float64]
    drift_per_s: float
    offset_px: tuple[float, float] = (0.0, 0.0)
    on: bool = False
    dead: bool = False
    cover_on: bool = False
    cover_stuck: bool = False
    cover_lost: bool = False
    sway_px: float = 0.0
    sway_hz: float = 0.0
    flicker: float = 0.0
    flicker_hz: float = 0.0
    jump_after_switches: int | None = None
    jump: float = 1.0
    second: tuple[float, float, float] | None = None
    # Frames (counted while the source is on) that a flash lights, and in which the source stands elsewhere.
    flashes: frozenset[int] = frozenset()
    bumps: frozenset[int] = frozenset()
    # What the source lights besides the mask, float64 (3, rows, columns), as seen behind the mask.
    lit: NDArray[np.float64] | None = None
    source_deg: tuple[float, float] = (0.0, 0.0)
    distance_mm: float | None = None
    switches: int = 0
    frames_on: int = 0
    _drawn: dict[Any, NDArray[np.float64]] = field(default_factory=dict)

    def irradiance(self, time_s: float) -> NDArray[np.float32]:
        """See host.twin.bench.World."""
        if self.cover_on:
            return np.zeros((3, self.rows_px, self.columns_px), dtype=np.float32)
        level = 1 + self.drift_per_s * time_s + self.flicker * math.sin(2 * math.pi * self.flicker_hz * time_s)
        if self.jump_after_switches is not None and self.switches > self.jump_after_switches:
            level *= self.jump
        light = self.ambient * level
        if self.on and not self.dead:
            self.frames_on += 1
            seen = self.picture(self.source_deg, self.distance_mm)
            if self.frames_on in self.bumps:
                seen = moved(seen, (2.5, -1.5))
            if self.sway_px:
                phase = 2 * math.pi * self.sway_hz * time_s
                seen = moved(seen, (self.sway_px * math.sin(phase), self.sway_px * math.cos(0.7 * phase)))
            light = light + np.maximum(seen, 0)
            if self.lit is not None:
                light = light + self.lit
            if self.frames_on in self.flashes:
                light = light + 0.5 * self.ambient.mean() + 0.2 * seen.max()
        return light.astype(np.float32)

    def picture(self, source_deg: tuple[float, float], distance_mm: float | None) -> NDArray[np.float64]:
        """Light of the source alone on the whole plane, float64 (3, rows, columns)."""
        key = (source_deg, distance_mm)
        if key not in self._drawn:
            psf = self.point_psf(source_deg, distance_mm)
            lit = self.brightness * self.gains[:, np.newaxis, np.newaxis] * psf
            at = self.chief_ray_px(source_deg)
            plane = _laid(lit, (self.rows_px, self.columns_px), at)
            if self.second is not None:
                down, right, share = self.second
                whole = math.floor(down), math.floor(right)
                copy = moved(lit, (down - whole[0], right - whole[1]))
                plane += share * _laid(copy, (self.rows_px, self.columns_px), (at[0] + whole[0], at[1] + whole[1]))
            self._drawn[key] = plane
        return self._drawn[key]

    def point_psf(self, source_deg: tuple[float, float], distance_mm: float | None) -> NDArray[np.float64]:
        """PSF of the made mask for a source there, float64 (3, side, side), axis near pixel n // 2."""
        angle = math.hypot(*source_deg)
        psf = self.mask_psf
        if angle:
            psf = scipy.ndimage.gaussian_filter(psf, (0, 0.12 * angle**2, 0.12 * angle**2))
        distance = AXIS_DISTANCE_MM if distance_mm is None else distance_mm
        # The hidden PSF is that of the source as it stands; nearer or farther changes its size against that.
        size = (1 + SENSOR_MM / distance) / (1 + SENSOR_MM / AXIS_DISTANCE_MM)
        if size != 1:
            psf = _resized(psf, size)
        return psf * math.cos(math.radians(angle)) ** 4

    def chief_ray_px(self, source_deg: tuple[float, float]) -> tuple[float, float]:
        """(row, column) of the plane where the light through the middle of the mask lands."""
        right, down = (SENSOR_MM * 1e3 / PLANE_PIXEL_UM * math.tan(math.radians(each)) for each in source_deg)
        return (
            self.rows_px // 2 + round(self.offset_px[0] + down),
            self.columns_px // 2 + round(self.offset_px[1] + right),
        )

    def set(self, on: bool) -> None:
        """Switch the source (the rig's light)."""
        self.switches += int(on != self.on)
        self.on = on

    def arrange(self, setup: Setup) -> None:
        """Bring the bench into a set-up."""
        self.cover_on = (setup.cover_on or self.cover_stuck) and not self.cover_lost
        self.source_deg, self.distance_mm = setup.source_deg, setup.distance_mm


def make(
    seed: int, fault: str | None = None, options: Mapping[str, Any] | None = None, bundle: Bundle | None = None
) -> Bench:
    """The bench of a seed.

    bundle: whose mask was ordered (None: the default bundle). options: `designed` float (3, rows, columns) or (rows,
    columns), the PSF of the mask that was ordered, in place of a bundle's; `planes_px` (rows, columns) of the sensor's
    colour planes; `fields` of PointWorld to set (flashes, bumps, brightness).
    """
    chosen = dict(options or {})
    rng = np.random.default_rng([seed, 0x505346])
    if "designed" in chosen:
        designed = _three(chosen["designed"])
    else:
        designed = default_design() if bundle is None else designed_psf(bundle)
    side = max(designed.shape[1:])
    sides = 4 if fault == "lights_the_room" else 2
    rows, columns = chosen.get("planes_px", (sides * side + 10, sides * side + 10))
    turn, scale = math.radians(rng.uniform(-1, 1) * FARTHEST_TURN_DEG), 1 + rng.uniform(-1, 1) * MOST_SCALE_ERROR
    shift = rng.uniform(-MOST_SHIFT_PX, MOST_SHIFT_PX, 2)
    gains = np.array([rng.uniform(0.55, 0.95), 1.0, rng.uniform(0.5, 0.9)])
    if fault == "mask_flipped":
        mounted = designed[:, :, ::-1] if designed.shape[2] % 2 else np.roll(designed[:, :, ::-1], 1, axis=2)
        ratio = (SENSOR_MM + PLATE_MM) / SENSOR_MM
    else:
        mounted, ratio = designed, 1.0
    out_side = 2 * (math.ceil(0.75 * side)) + 1
    if fault == "mask_missing":
        psf = _open_stop(out_side, 1.3 * side * scale, shift)
    else:
        psf = _mounted(mounted, out_side, shift, turn, scale * ratio)
    psf = _imperfect(psf, side, rng)
    peak_share = float(psf[1].max())
    # Light that brings the brightest pixel to full scale within 3 to 60 ms.
    brightness = 10 / (rng.uniform(3, 60) * peak_share)
    slope = rng.uniform(-0.2, 0.2, 2)
    y, x = np.linspace(-1, 1, rows)[:, np.newaxis], np.linspace(-1, 1, columns)[np.newaxis]
    colour = rng.uniform(0.6, 1.0, 3)[:, np.newaxis, np.newaxis]
    ambient = rng.uniform(0.003, 0.02) * colour * (1 + slope[0] * y + slope[1] * x)
    world = PointWorld(
        rows,
        columns,
        psf,
        brightness,
        gains,
        ambient,
        float(rng.uniform(-1, 1) * 1e-4),
        tuple(float(each) for each in rng.integers(-2, 3, 2)),  # type: ignore[arg-type]
    )
    sensor = SensorModel(
        full_well_electrons=float(rng.uniform(6_000, 12_000)),
        read_noise_electrons=float(rng.uniform(2, 5)),
        dark_current_electrons_per_s=float(rng.uniform(2, 15)),
        prnu_percent=float(rng.uniform(0.5, 2.0)),
    )
    _break(world, fault, side, rng)
    for name, value in chosen.get("fields", {}).items():
        setattr(world, name, value)
    camera = {"bits": 12, "black_dn": 256, "model": "imx477"}
    light = world.gains * world.brightness
    truth: dict[str, Any] = {
        "shift_px": [float(each) for each in shift],
        "position_px": [float(at + each) for at, each in zip(world.chief_ray_px((0.0, 0.0)), shift, strict=True)],
        "rotation_deg": math.degrees(turn) if rotation_shows(designed) else None,
        "scale": scale * ratio if fault != "mask_missing" else None,
        "gains": [float(each) for each in light[1] / light],
        "share_in_squares": _in_squares(world, side),
        "prnu_percent": sensor.prnu_percent,
        "wrong_setup": fault,
    }
    return Bench("psf", world, sensor, world, world.arrange, truth, camera_options={**camera, "seed": seed})


def default_design() -> NDArray[np.float64]:
    """The PSF that the shipped bundle's mask should have: its kernel, for every colour."""
    return _three(read_bundle(default_bundle_path()).encoding.kernels[0])


def spots_design(side: int = 31, seed: int = 0) -> NDArray[np.float64]:
    """A PSF that looks otherwise in every rotation and mirrored, as a diffuser's caustic does: (3, side, side)."""
    rng = np.random.default_rng([seed, 0x53504F54])
    away = np.arange(side) - side // 2
    within = np.exp(-(away[:, np.newaxis] ** 2 + away**2) / (2 * (side / 7) ** 2))
    speckle = np.maximum(scipy.ndimage.gaussian_filter(rng.standard_normal((side, side)), 1.6), 0) * within
    speckle = scipy.ndimage.gaussian_filter(speckle, 1.0, mode="constant")
    return _three(speckle / speckle.sum())


def _in_squares(world: PointWorld, side: int) -> list[float]:
    """Share of the source's green light in squares around its pixel, of what lies above the level at the rim of a
    region of twice the design's side."""
    row, column = world.chief_ray_px((0.0, 0.0))
    plane = world.picture((0.0, 0.0), None)[1]
    region = plane[max(0, row - side) : row + side + 1, max(0, column - side) : column + side + 1]
    if min(region.shape, default=0) < 2 * max(SQUARES_PX) // 2 or not region.any():
        return []
    rim = np.ones(region.shape, dtype=bool)
    rim[2:-2, 2:-2] = False
    above = plane - region[rim].mean()
    total = region.sum() - region[rim].mean() * region.size
    halves = (each // 2 for each in SQUARES_PX)
    return [float(above[row - h : row + h + 1, column - h : column + h + 1].sum() / total) for h in halves]


def _break(world: PointWorld, fault: str | None, side: int, rng: np.random.Generator) -> None:
    """Make one thing of the bench wrong."""
    if fault == "source_off":
        world.dead = True
    elif fault == "too_bright":
        world.brightness *= 3e4
    elif fault == "too_dim":
        # Half a percent to a percent of full scale in the longest exposure of 200 ms.
        world.brightness = float(rng.uniform(0.005, 0.012) / 20 / world.mask_psf[1].max())
    elif fault == "moving":
        world.sway_px, world.sway_hz = float(rng.uniform(0.8, 3)), float(rng.uniform(0.1, 3))
    elif fault == "two_sources":
        # From a faint reflection to a second LED, from within the PSF to beyond it.
        direction, away = rng.uniform(0, 2 * math.pi), side * rng.uniform(0.12, 0.6)
        share = float(np.exp(rng.uniform(math.log(0.05), math.log(0.9))))
        world.second = away * math.sin(direction), away * math.cos(direction), share
    elif fault == "cover_off":
        world.cover_lost = True
    elif fault == "cover_on":
        world.cover_stuck = True
    elif fault == "ambient_flicker":
        world.flicker, world.flicker_hz = float(rng.uniform(0.2, 0.6)), float(rng.uniform(97, 103))
    elif fault == "ambient_changed":
        world.jump_after_switches, world.jump = int(rng.integers(5, 9)), float(rng.uniform(3, 8))
    elif fault == "lights_the_room":
        texture = rng.random((world.rows_px // 8 + 1, world.columns_px // 8 + 1)).repeat(8, 0).repeat(8, 1)
        texture = scipy.ndimage.gaussian_filter(texture[: world.rows_px, : world.columns_px], 4) ** 4
        light = rng.uniform(0.2, 4) * world.brightness * world.gains
        world.lit = light[:, np.newaxis, np.newaxis] * texture / texture.sum()
    elif fault == "source_out_of_field":
        edge = int(rng.integers(0, 4))
        beyond = world.rows_px / 2 + side * rng.uniform(-0.15, 0.05)
        axis, sign = edge % 2, 1 if edge < 2 else -1
        world.offset_px = (sign * beyond, 0.0) if axis == 0 else (0.0, sign * beyond)


def _three(psf: Any) -> NDArray[np.float64]:
    planes = np.asarray(psf, dtype=np.float64)
    return np.repeat(planes[np.newaxis], 3, axis=0) if planes.ndim == 2 else planes


def _mounted(
    designed: NDArray[np.float64], side: int, shift: NDArray[np.float64], turn_rad: float, scale: float
) -> NDArray[np.float64]:
    """The design moved, turned and scaled by interpolation of the fifth order: (3, side, side)."""
    away = np.arange(side, dtype=np.float64) - side // 2
    rows, columns = (away - shift[0])[:, np.newaxis], (away - shift[1])[np.newaxis]
    cosine, sine = math.cos(turn_rad) / scale, math.sin(turn_rad) / scale
    at = np.stack([cosine * rows - sine * columns, cosine * columns + sine * rows])
    middle = np.array([n // 2 for n in designed.shape[1:]], dtype=np.float64)[:, np.newaxis, np.newaxis]
    planes = [scipy.ndimage.map_coordinates(np.pad(each, 6), at + middle + 6, order=5) for each in designed]
    return np.asarray(np.maximum(np.stack(planes), 0) / scale**2)


def _resized(psf: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    return _mounted(psf, psf.shape[1], np.zeros(2), 0.0, size)


def _open_stop(side: int, across_px: float, shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shadow of the open stop: an even disc, its edge a pixel wide."""
    away = np.arange(side) - side // 2
    radius = np.hypot((away - shift[0])[:, np.newaxis], away - shift[1])
    disc = np.clip(across_px / 2 - radius + 0.5, 0, 1)
    return _three(disc / disc.sum())


def _imperfect(psf: NDArray[np.float64], side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A smooth error of some percent, common to the colours, and a halo: the sum of each colour becomes one."""
    length = side * rng.uniform(0.16, 0.24)
    room = math.ceil(3 * length)
    smooth = scipy.ndimage.gaussian_filter(rng.standard_normal([n + 2 * room for n in psf.shape[1:]]), length)
    error = smooth[room:-room, room:-room] / smooth.std()
    uneven = psf * np.maximum(1 + rng.uniform(0.015, 0.035) * error, 0)
    blur = side * rng.uniform(0.16, 0.2)
    halo = scipy.ndimage.gaussian_filter(uneven, (0, blur, blur), mode="constant")
    share = rng.uniform(0.01, 0.03)
    made = (1 - share) * uneven + share * halo
    return np.asarray(made / made.sum(axis=(1, 2), keepdims=True))


def _laid(psf: NDArray[np.float64], shape: tuple[int, int], at: tuple[float, float]) -> NDArray[np.float64]:
    """The PSF with its pixel n // 2 at a place of a plane, whole pixels; what leaves the plane is lost."""
    plane = np.zeros((3, *shape))
    top, left = (round(place) - n // 2 for place, n in zip(at, psf.shape[1:], strict=True))
    rows = slice(max(top, 0), min(top + psf.shape[1], shape[0]))
    columns = slice(max(left, 0), min(left + psf.shape[2], shape[1]))
    if rows.start < rows.stop and columns.start < columns.stop:
        plane[:, rows, columns] = psf[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return plane
