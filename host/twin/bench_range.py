"""A twin's bench for the range: a photographed scene behind the bundle's mask, in a light that nobody knows."""

from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.bayer import planes
from host.calibrate.procedure import Setup
from host.exposure import REFERENCE_EXPOSURE_US, ExposureConfig, split_exposure
from host.twin.bench import Bench
from host.twin.mosaic import MosaicSensor
from host.twin.radiance import fit, linearize, rgb_from_bgr
from host.twin.sensor import SensorModel
from optics.bundle import Bundle, default_bundle_path, read_bundle
from optics.encoding import convolve_planes, pool_planes
from optics.exposure import SATURATED_SHARE_TARGET, steady_exposure

FAULTS = {
    "too_dark": "not even the longest exposure at the highest gain brings the scene into the range",
    "too_bright": "even the shortest exposure at gain 1 is too bright",
    "flicker": "the light of the scene changes from exposure to exposure",
    "cover_on": "the lens cover is on",
    "controls_ignored": "the camera does not take the exposure that it is given",
}
# Photographs that ship inside scikit-image; the scene is one of them.
PHOTOGRAPHS = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png")
# Another split of the same product has another gain and other noise, which a cell's maximum sees a little of.
MAINS_HZ = 50
# Light of a right bench: exposure times gain that it asks for, in 10 ms at gain 1.
FAIR_PRODUCTS = (0.1, 20.0)
FAIR_FLICKER = 0.004
# Exposures that the hidden answer is averaged over, so that its own noise hardly counts: many on a small plane.
LEAST_TRUTH_EXPOSURES, TRUTH_SITES = 48, 6_000_000


@dataclass(eq=False)
class LitScene:
    """What falls on the sensor: `light` float32 (3, rows, columns) behind the mask at level 1, never negative.

    level: of the scene's light. flicker: amplitude relative to it, at flicker_hz. covered: by whoever arranges;
    stuck_cover: the cover stays on.
    """

    light: NDArray[np.float32]
    level: float
    flicker: float = 0.0
    flicker_hz: float = 1.0
    stuck_cover: bool = False
    covered: bool = field(default=False, init=False)
    rows_px: int = field(init=False)
    columns_px: int = field(init=False)

    def __post_init__(self) -> None:
        _, self.rows_px, self.columns_px = self.light.shape

    def set(self, on: bool) -> None:
        """The scene is lit by its own light; there is nothing to switch."""

    def arrange(self, setup: Setup) -> None:
        """Put the cover on or take it off."""
        self.covered = setup.cover_on

    def irradiance(self, time_s: float) -> NDArray[np.float32]:
        """float32 (3, rows_px, columns_px) at this moment."""
        if self.covered or self.stuck_cover:
            return np.zeros_like(self.light)
        factor = self.level * (1 + self.flicker * np.sin(2 * np.pi * self.flicker_hz * time_s))
        return self.light * np.float32(factor)


def make(seed: int, fault: str | None = None, bundle: Bundle | None = None, mains_hz: int | None = None) -> Bench:
    """The bench of a seed, with one thing wrong where `fault` says so; bundle: whose mask, plane, pool and thresholds
    (None: those of the default bundle).

    mains_hz: as configured where the range is found, 50, 60 or 0. Exposure and gain follow from it, and with None the
    truth has neither; the light is the same.
    """
    bundle = bundle or _default_bundle()
    rng = np.random.default_rng([seed, 77])
    light = _behind_the_mask(str(rng.choice(PHOTOGRAPHS)), bundle)
    sensor = SensorModel(
        full_well_electrons=float(rng.uniform(4_000, 12_000)),
        read_noise_electrons=float(rng.uniform(2, 6)),
        dark_current_electrons_per_s=float(rng.uniform(2, 60)),
        prnu_percent=float(rng.uniform(0.3, 1.5)),
        dsnu_electrons=float(rng.uniform(0.5, 3)),
    )
    wanted = float(np.exp(rng.uniform(*np.log(FAIR_PRODUCTS))))
    if fault == "too_dark":
        wanted = float(rng.uniform(120, 500))
    elif fault == "too_bright":
        wanted = float(np.exp(rng.uniform(np.log(0.0005), np.log(0.007))))
    cells = pool_planes(light, bundle.encoding.pool)
    at_unit = steady_exposure(cells, bundle.encoding.thresholds, limits=(1e-9, 1e9))
    world = LitScene(
        light,
        level=at_unit / wanted,
        flicker=float(rng.uniform(0.15, 0.5) if fault == "flicker" else rng.uniform(0, FAIR_FLICKER)),
        flicker_hz=float(rng.uniform(0.7, 6)),
        stuck_cover=fault == "cover_on",
    )
    options: dict[str, object] = {"bits": 10, "black_dn": 64, "seed": seed}
    if fault == "controls_ignored":
        options["fault"] = "controls_ignored"
    truth: dict[str, object] = {"saturated_share_target": SATURATED_SHARE_TARGET}
    if fault in (None, "flicker"):
        limits = ExposureConfig(mains_hz=MAINS_HZ if mains_hz is None else mains_hz)
        product_us = _true_product_us(replace(world, flicker=0.0), sensor, seed, wanted, bundle, limits)
        truth |= {"product_us": product_us, "full_scale_radiance": REFERENCE_EXPOSURE_US / product_us}
        if mains_hz is not None:
            exposure_us, gain = split_exposure(product_us / REFERENCE_EXPOSURE_US, limits)
            truth |= {"exposure_us": exposure_us, "gain": gain}
    return Bench("range", world, sensor, world, world.arrange, truth, options)


@cache
def _default_bundle() -> Bundle:
    return read_bundle(default_bundle_path())


def _behind_the_mask(photograph: str, bundle: Bundle) -> NDArray[np.float32]:
    """A photograph as the bundle's kernel lays it on the plane, float32 (3, rows_px, columns_px)."""
    content = (resources.files("skimage") / "data" / photograph).read_bytes()
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{photograph} of scikit-image cannot be read: install scikit-image again")
    scene = np.ascontiguousarray(fit(linearize(rgb_from_bgr(picture)), bundle.rows_px, bundle.columns_px))
    # A convolution by transforms leaves a little below 0 where there is no light.
    return np.maximum(convolve_planes(scene, bundle.encoding)[:3], 0)


def _true_product_us(
    world: LitScene, sensor: SensorModel, seed: int, wanted: float, bundle: Bundle, limits: ExposureConfig
) -> float:
    """Exposure times gain at which this very sensor (its pattern comes from the seed) has the target share of its
    pooled values at the highest threshold, averaged over many exposures, noise of its own."""
    rng = np.random.default_rng(seed)
    made = MosaicSensor(world, sensor, rng, 10, 64.0)
    made.rng = np.random.default_rng([seed, 78])
    columns_px, rows_px = made.size_px
    mosaic = np.empty((rows_px, columns_px), np.uint16)
    top = float(bundle.encoding.thresholds[-1])
    product = wanted
    many = max(LEAST_TRUTH_EXPOSURES, TRUTH_SITES // mosaic.size)
    for exposures in (2, 2, many):
        exposure_us, gain = split_exposure(product, limits)
        factors = []
        for _ in range(exposures):
            made.take(0.0, exposure_us, gain, mosaic)
            values = planes(mosaic, "RGGB", (64.0,) * 4, 1023.0)
            cells = np.sort(pool_planes(values.astype(np.float32), bundle.encoding.pool), axis=None)
            factors.append(top / float(cells[-max(1, round(SATURATED_SHARE_TARGET * cells.size))]))
        product = exposure_us * gain / REFERENCE_EXPOSURE_US * float(np.mean(factors))
    return product * REFERENCE_EXPOSURE_US
