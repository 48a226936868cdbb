"""Light to start with: plane and spherical waves, Gaussian beams, apertures and lenses on a grid.

Amplitudes are one where nothing else is said; phases follow exp(-i w t), as in `optics.propagation`. What a grid cannot
carry is refused here, where its true phase is still known: in samples, a wave that is too steep looks like another one.
"""

import math

import numpy as np
from numpy.typing import NDArray

from optics.grid import Grid
from optics.sampling import SamplingError, advised_grid, check_resolved, check_slope, describe

Complex = NDArray[np.complex128]


def plane_wave(grid: Grid, wavelength_m: float, angle_x_rad: float = 0.0, angle_y_rad: float = 0.0) -> Complex:
    """A plane wave of amplitude one, zero phase on the axis: complex128 (rows, columns).

    Its direction has the cosines sin(angle_x_rad) and sin(angle_y_rad) to the axes x and y: positive angles travel
    towards larger columns and rows. Raises SamplingError if it is too steep for the grid, ValueError if it is no
    direction.
    """
    towards = math.sin(angle_x_rad), math.sin(angle_y_rad)
    if math.hypot(*towards) > 1:
        raise ValueError(f"angles of {angle_x_rad:.4g} and {angle_y_rad:.4g} rad are no direction of travel")
    check_slope(grid, max(map(abs, towards)) / wavelength_m, "this plane wave")
    along_x, along_y = (
        np.exp(2j * np.pi * cosine / wavelength_m * position)
        for cosine, position in zip(towards, (grid.x_m, grid.y_m), strict=True)
    )
    return np.asarray(along_y * along_x)


def point_source(grid: Grid, wavelength_m: float, distance_m: float, x_m: float = 0.0, y_m: float = 0.0) -> Complex:
    """The spherical wave of a point `distance_m` in front of the grid, at (x_m, y_m): complex128 (rows, columns).

    Amplitude one and zero phase at the foot of the point, falling with the distance. A negative distance is light that
    converges to a point behind the grid; infinity is the plane wave along the axis. Raises SamplingError if the grid
    is too coarse for the slope at its edge.
    """
    if math.isinf(distance_m):
        return plane_wave(grid, wavelength_m)
    if distance_m == 0 or math.isnan(distance_m):
        raise ValueError(f"distance_m must not be zero, got {distance_m!r}")
    x, y = grid.x_m - x_m, grid.y_m - y_m
    steepest = max(float(np.abs(side).max()) / math.hypot(np.abs(side).max(), distance_m) for side in (x, y))
    check_slope(grid, steepest / wavelength_m, f"the wave of a point {distance_m:.4g} m away")
    return np.asarray(
        np.exp(2j * np.pi / wavelength_m * _further_m(x**2 + y**2, distance_m)) * _dimmer(x, y, distance_m)
    )


def lens(grid: Grid, wavelength_m: float, focal_length_m: float, diameter_m: float | None = None) -> Complex:
    """What an ideal thin lens multiplies a field by: complex128 (rows, columns), dark outside its diameter.

    It makes a plane wave along the axis into a spherical one around the focus, without aberration; negative focal
    lengths diverge. diameter_m: None covers the grid. Raises SamplingError if the grid is too coarse for its edge.
    """
    if focal_length_m == 0 or math.isnan(focal_length_m):
        raise ValueError(f"focal_length_m must not be zero, got {focal_length_m!r}")
    corner_m = max(float(np.abs(grid.x_m).max()), float(np.abs(grid.y_m).max()))
    edge_m = corner_m if diameter_m is None else min(diameter_m / 2, corner_m)
    check_slope(
        grid,
        edge_m / math.hypot(edge_m, focal_length_m) / wavelength_m,
        f"a lens that focuses at {focal_length_m:.4g} m, {2 * edge_m:.4g} m wide,",
    )
    if math.isinf(focal_length_m):
        phase: NDArray[np.float64] = np.zeros(grid.shape)
    else:
        phase = -2 * np.pi / wavelength_m * _further_m(grid.x_m**2 + grid.y_m**2, focal_length_m)
    stop = 1.0 if diameter_m is None else circular_aperture(grid, diameter_m)
    return np.asarray(stop * np.exp(1j * phase))


def gaussian_beam(grid: Grid, wavelength_m: float, waist_radius_m: float, distance_m: float = 0.0) -> Complex:
    """A Gaussian beam `distance_m` behind its waist: complex128 (rows, columns), amplitude one at the waist's centre.

    waist_radius_m: where the amplitude has fallen to 1/e. Kogelnik and Li, "Laser Beams and Resonators", Appl. Opt. 5,
    1550 (1966), doi:10.1364/AO.5.001550, equations 16 to 24. Raises SamplingError if the beam is wider than the grid,
    or its waist or its curvature finer than the samples.
    """
    if not waist_radius_m > 0:
        raise ValueError(f"waist_radius_m must be positive, got {waist_radius_m!r}")
    rayleigh_m = math.pi * waist_radius_m**2 / wavelength_m
    radius_m = waist_radius_m * math.hypot(1, distance_m / rayleigh_m)
    # A hair of room for lengths that are meant to be equal.
    needed = 4 * radius_m / grid.pitch_m * (1 - 1e-9)
    if min(grid.shape) < needed:
        sides = [max(count, math.ceil(needed)) for count in grid.shape]
        advice = advised_grid(Grid(sides[0], sides[1], grid.pitch_m), grid.pitch_m)
        raise SamplingError(
            f"the beam is {2 * radius_m:.4g} m wide and the grid {min(grid.shape) * grid.pitch_m:.4g} m; it needs "
            f"twice the beam: {describe(advice)} would do",
            advice,
        )
    squared = grid.x_m**2 + grid.y_m**2
    # The complex beam parameter: amplitude, curvature and Gouy phase at once.
    beam = 1 / (1 + 1j * distance_m / rayleigh_m)
    field = beam * np.exp(-squared / waist_radius_m**2 * beam)
    check_resolved(field, grid)
    return np.asarray(field)


def circular_aperture(grid: Grid, diameter_m: float, grey_edge: bool = False) -> NDArray[np.float64]:
    """A round opening on the axis: float64 (rows, columns), 1 inside and 0 outside.

    grey_edge: samples at the edge get about the share of their area that is inside, so that the opening's area and
    with it the field is right to a fraction of a sample. Raises SamplingError if no sample is inside.
    """
    distance_m = np.hypot(grid.x_m, grid.y_m)
    if diameter_m / 2 < grid.pitch_m / 2:
        advice = advised_grid(grid, max(diameter_m, 1e-12) / 4)
        raise SamplingError(
            f"an opening of {diameter_m * 1e6:.4g} um is smaller than a sample of {grid.pitch_m * 1e6:.4g} um: "
            f"{describe(advice)} would do",
            advice,
        )
    if grey_edge:
        return np.asarray(np.clip((diameter_m / 2 - distance_m) / grid.pitch_m + 0.5, 0, 1))
    return np.asarray(distance_m <= diameter_m / 2, dtype=np.float64)


def square_aperture(grid: Grid, side_m: float) -> NDArray[np.float64]:
    """A square opening on the axis: float64 (rows, columns); samples at the edge get their share."""
    sides = [np.clip((side_m / 2 - np.abs(position)) / grid.pitch_m + 0.5, 0, 1) for position in (grid.x_m, grid.y_m)]
    return np.asarray(sides[1] * sides[0])


def _further_m(squared: NDArray[np.float64], distance_m: float) -> NDArray[np.float64]:
    """By how much a point at this squared distance from the axis is further away than the one on it, signed."""
    # Without the cancellation of a difference of two long distances.
    return np.asarray(squared / (np.sqrt(squared + distance_m**2) + abs(distance_m)) * math.copysign(1, distance_m))


def _dimmer(x: NDArray[np.float64], y: NDArray[np.float64], distance_m: float) -> NDArray[np.float64]:
    return np.asarray(abs(distance_m) / np.sqrt(x**2 + y**2 + distance_m**2))
