"""Stacks of exposures of one even scene, reduced to the statistics that a photon transfer needs: no picture is left.

A Bayer sensor is treated as EMVA Standard 1288 (release 4.0 Linear) treats one with several channels: each of the four
sites of a quad on its own, so that no colour mixes with another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

SITES = 4
# Of a large sensor its middle is measured, this many quads on each side: light is even over it more easily.
LARGEST_WINDOW_QUADS = 512
# Coefficients of the surface (quadratic in row and column) that uneven light is taken for.
SURFACE_TERMS = 6


@dataclass(frozen=True, slots=True, eq=False)
class StackStatistics:
    """One stack. Arrays are float64 (4,), the sites of a quad row by row, unless stated; DN are digital numbers.

    exposure_us, gain: as the camera reported them. time_s: of the middle of all exposures, on one clock with the
    other stacks'. frames: exposures. pixels: of each site. white_dn: full scale.
    reported_black_dn: black level as the camera reports it. mean_dn: over pixels and exposures. frame_means_dn:
    (frames, 4). temporal_dn2: temporal variance, averaged over the pixels, changes of all pixels together removed.
    temporal_sigma_dn2: its standard uncertainty, from the scatter over the pixels. spatial_dn2: variance over the
    pixels of their means, a quadratic surface and what is left of the temporal noise taken off (it can come out below
    0). spatial_sigma_dn2: its standard uncertainty. surface_dn: the surface's highest less its lowest value.
    saturated_share, zero_share: of all values, those at full scale and those at 0.
    """

    exposure_us: float
    gain: float
    time_s: float
    frames: int
    pixels: int
    white_dn: float
    reported_black_dn: NDArray[np.float64]
    mean_dn: NDArray[np.float64]
    frame_means_dn: NDArray[np.float64]
    temporal_dn2: NDArray[np.float64]
    temporal_sigma_dn2: NDArray[np.float64]
    spatial_dn2: NDArray[np.float64]
    spatial_sigma_dn2: NDArray[np.float64]
    surface_dn: NDArray[np.float64]
    saturated_share: NDArray[np.float64]
    zero_share: NDArray[np.float64]

    @property
    def mean_sigma_dn(self) -> NDArray[np.float64]:
        """Standard uncertainty of `mean_dn` by temporal noise, float64 (4,)."""
        return np.asarray(np.sqrt(self.temporal_dn2 / (self.frames * self.pixels)))


class StackReducer:
    """Takes mosaics one by one and keeps sums over them (Welford, doi:10.1080/00401706.1962.10490022), none of them.

    What it works in is its own memory and zero between two mosaics; `clear` zeroes the sums as well.
    """

    def __init__(self) -> None:
        self._frames = 0
        self._frame_means: list[NDArray[np.float64]] = []
        self._mean = self._squares = self._value = self._scratch = np.zeros((SITES, 0, 0))
        self._saturated, self._zero = np.zeros(SITES), np.zeros(SITES)

    def add(self, mosaic: NDArray[np.uint16], white_dn: float) -> None:
        """One exposure, (rows, columns) of digital numbers. Raises ValueError for an odd side or another size."""
        window = middle(mosaic)
        shape = (SITES, window.shape[0] // 2, window.shape[1] // 2)
        if mosaic.shape[0] % 2 or mosaic.shape[1] % 2:
            raise ValueError(f"a Bayer mosaic has an even number of rows and columns, got {mosaic.shape}")
        if self._frames == 0:
            self._mean, self._squares, self._value, self._scratch = (np.zeros(shape) for _ in range(4))
        elif shape != self._mean.shape:
            raise ValueError(f"exposures of one stack have one size, got {shape} after {self._mean.shape}")
        value = self._value
        self._frames += 1
        try:
            for site in range(SITES):
                value[site] = window[site // 2 :: 2, site % 2 :: 2]
            self._frame_means.append(value.mean(axis=(1, 2)))
            self._saturated += (value >= white_dn).mean(axis=(1, 2))
            self._zero += (value <= 0).mean(axis=(1, 2))
            value -= self._mean
            np.multiply(value, value, out=self._scratch)
            self._scratch *= (self._frames - 1) / self._frames
            self._squares += self._scratch
            value /= self._frames
            self._mean += value
        finally:
            value.fill(0)
            self._scratch.fill(0)

    def reduce(
        self,
        exposure_us: float,
        gain: float,
        white_dn: float,
        reported_black_dn: tuple[float, float, float, float],
        time_s: float = 0.0,
    ) -> StackStatistics:
        """What is left of them. Raises ValueError for fewer than two exposures, or fewer than 8 x 8 quads."""
        if self._frames < 2:
            raise ValueError(f"a variance over time needs two exposures or more, got {self._frames}")
        pixels = self._mean[0].size
        if min(self._mean.shape[1:]) < 8:
            raise ValueError(f"a spatial variance needs 8 x 8 quads or more, got {self._mean.shape[1:]}")
        frame_means = np.array(self._frame_means)
        variance = self._squares.reshape(SITES, pixels) / (self._frames - 1)
        # What all pixels do together is the light's doing (EMVA 1288 takes the difference of the means off, too).
        together = frame_means.var(axis=0, ddof=1)
        average = variance.mean(axis=1)
        temporal = np.maximum(average - together, 0) * pixels / (pixels - 1)
        variance -= average[:, np.newaxis]
        temporal_sigma = np.sqrt(np.einsum("ij,ij->i", variance, variance) / (pixels - 1) / pixels)
        variance.fill(0)
        flat, surface = without_surface(self._mean)
        flat = flat.reshape(SITES, pixels)
        free = pixels - SURFACE_TERMS
        flat *= flat
        measured = flat.sum(axis=1) / free
        # Variance of a variance: (m4 - s^4) / n, whatever the distribution.
        fourth = np.einsum("ij,ij->i", flat, flat) / pixels
        flat.fill(0)
        spatial_sigma = np.sqrt(np.maximum(fourth - measured**2, 0) / free)
        return StackStatistics(
            exposure_us=float(exposure_us),
            gain=float(gain),
            time_s=float(time_s),
            frames=self._frames,
            pixels=pixels,
            white_dn=float(white_dn),
            reported_black_dn=np.array(reported_black_dn, dtype=np.float64),
            mean_dn=self._mean.mean(axis=(1, 2)),
            frame_means_dn=frame_means,
            temporal_dn2=temporal,
            temporal_sigma_dn2=temporal_sigma,
            spatial_dn2=measured - temporal / self._frames,
            spatial_sigma_dn2=spatial_sigma,
            surface_dn=surface,
            saturated_share=self._saturated / self._frames,
            zero_share=self._zero / self._frames,
        )

    def clear(self) -> None:
        """Overwrite the sums: their mean is a picture, if only of an even wall."""
        for part in (self._mean, self._squares, self._value, self._scratch):
            part.fill(0)

    @property
    def empty(self) -> bool:
        """Whether nothing of a picture is left."""
        return not any(part.any() for part in (self._mean, self._squares, self._value, self._scratch))


def middle(mosaic: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The middle of a mosaic (rows, columns), at most LARGEST_WINDOW_QUADS quads on each side, whole quads: a view."""
    rows, columns = (min(side // 2, LARGEST_WINDOW_QUADS) for side in mosaic.shape)
    top, left = ((side // 2 - kept) // 2 * 2 for side, kept in zip(mosaic.shape, (rows, columns), strict=True))
    return mosaic[top : top + 2 * rows, left : left + 2 * columns]


def without_surface(means: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of pixels less the quadratic surface that fits them best, and that surface's span.

    means: float64 (n, rows, columns). Returns float64 (n, rows, columns) and (n,). An LED's light is never quite even,
    and what changes slowly over the sensor is light; what changes from pixel to pixel is the sensor. (EMVA 1288
    release 4.0, section 8.1, high-pass filters for the same end; a surface leaves the variance of white noise alone
    but for its degrees of freedom, and needs no correction afterwards.)
    """
    count, rows, columns = means.shape
    y, x = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y]).reshape(SURFACE_TERMS, -1)
    basis, _ = np.linalg.qr(terms.T)
    flat = means.reshape(count, -1).copy()
    surface = (flat @ basis) @ basis.T
    flat -= surface
    return flat.reshape(means.shape), np.ptp(surface, axis=1)


def to_arrays(statistics: StackStatistics) -> dict[str, NDArray[np.float64]]:
    """The same as named arrays of float64, for a file."""
    return {part.name: np.asarray(getattr(statistics, part.name), np.float64) for part in fields(statistics)}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> StackStatistics:
    """What `to_arrays` gave. Raises ValueError for other names or shapes."""
    names = {part.name for part in fields(StackStatistics)}
    if set(arrays) != names:
        raise ValueError(f"the statistics of a stack have the parts {sorted(names)}, got {sorted(arrays)}")
    values: dict[str, Any] = {}
    for name, array in arrays.items():
        value = np.asarray(array, dtype=np.float64)
        if name in ("exposure_us", "gain", "time_s", "white_dn"):
            values[name] = float(value)
        elif name in ("frames", "pixels"):
            values[name] = int(value)
        elif value.shape[-1:] != (SITES,):
            raise ValueError(f"{name} of a stack has one value for each of {SITES} sites, got the shape {value.shape}")
        else:
            values[name] = value
    return StackStatistics(**values)
