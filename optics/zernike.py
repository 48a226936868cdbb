"""Zernike polynomials in Noll's order: one term anywhere, all terms on an array, sums of terms, and the fit back.

The unit disc lies on an array of cells like this: its middle is the middle of the array, ((rows - 1) / 2,
(columns - 1) / 2), between two cells where the count is even, and its diameter is `disc_cells` cells, by default the
shorter side, so that the disc touches the outer edges of the outermost cells. A cell belongs to the disc if its centre
does; cells outside are 0. Software that puts the rim through the centres of the outermost cells (poppy's
`zernike_basis`) is met by `disc_cells = side - 1`. x grows with the column and y with the row, and the angle is
atan2(y, x): on a picture with row 0 at the top it grows clockwise. See docs/decisions/0012-the-zernike-disc.md.

Source: R. J. Noll, "Zernike polynomials and atmospheric turbulence", J. Opt. Soc. Am. 66, 207 (1976),
doi:10.1364/JOSA.66.000207. Terms count from 1 (piston); the mean square of each over the disc is 1.
"""

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optics.mask import cell_positions_m

Array = NDArray[np.float64]
CELLS_AT_ONCE = 16384


def noll_to_nm(term: int) -> tuple[int, int]:
    """Radial order n and azimuthal order m of a term counted from 1; m is negative for the sine terms.

    Raises ValueError for anything but a whole number from 1.
    """
    if isinstance(term, bool) or not isinstance(term, int | np.integer) or term < 1:
        raise ValueError(f"Noll's terms are whole numbers from 1 (piston), got {term!r}")
    order = (math.isqrt(8 * int(term) - 7) - 1) // 2
    place = int(term) - order * (order + 1) // 2  # from 1 inside the row of this order
    azimuthal = 2 * (place // 2) if order % 2 == 0 else 2 * ((place - 1) // 2) + 1
    return order, azimuthal if term % 2 == 0 else -azimuthal


def nm_to_noll(order: int, azimuthal: int) -> int:
    """The term, counted from 1, of radial order n and azimuthal order m (negative: sine). Raises ValueError."""
    size = abs(azimuthal)
    if order < 0 or size > order or (order - size) % 2:
        raise ValueError(f"no Zernike term has n = {order}, m = {azimuthal}: |m| must be n, n - 2, n - 4, ...")
    first = order * (order + 1) // 2 + max(size, 1)
    candidates = (first,) if size == 0 else (first, first + 1)
    return next(term for term in candidates if noll_to_nm(term) == (order, azimuthal))


def zernike(term: int, radius: ArrayLike, angle_rad: ArrayLike) -> Array:
    """One term at polar coordinates of the unit disc, which broadcast: float64, 0 where the radius exceeds 1.

    sqrt(n + 1) R for m = 0, sqrt(2 (n + 1)) R cos(m angle) for even terms and sqrt(2 (n + 1)) R sin(|m| angle) for odd
    ones, equations 1 and 2 of Noll. Raises ValueError as `noll_to_nm` does.
    """
    order, azimuthal = noll_to_nm(term)
    size = abs(azimuthal)
    away, angle = np.broadcast_arrays(np.asarray(radius, np.float64), np.asarray(angle_rad, np.float64))
    inside = (away >= 0) & (away <= 1)
    away = np.where(inside, away, 0)
    radial = next(islice(_jacobi(size, 2 * away**2 - 1), (order - size) // 2, None)) * away**size
    around = np.cos(size * angle) if azimuthal >= 0 else np.sin(size * angle)
    return np.asarray(np.where(inside, _norm(order, azimuthal) * radial * around, 0))


def zernike_basis(terms: int, rows: int, columns: int, disc_cells: float | None = None) -> Array:
    """The first `terms` terms on an array of cells: float64 (terms, rows, columns), 0 outside the disc.

    The disc lies as this file's first lines say. 400 terms on 896 x 896 cells take 2.6 GB: to add terms up use
    `zernike_surface`, which never holds them. Raises ValueError.
    """
    disc = _Disc(rows, columns, disc_cells)
    basis = np.zeros((_count(terms), rows, columns))
    basis[:, disc.row, disc.column] = _terms_at(terms, disc.x, disc.y)
    return basis


def zernike_surface(coefficients: ArrayLike, rows: int, columns: int, disc_cells: float | None = None) -> Array:
    """Sum of coefficient times term: float64 (rows, columns) in the coefficients' unit, 0 outside the disc.

    coefficients: (terms,), index 0 is Noll's first term. The disc lies as this file's first lines say. Radial
    polynomials are evaluated once for each distinct distance from the middle and shared by the terms of an azimuthal
    order, so no array of terms is held. Raises ValueError.
    """
    values = np.asarray(coefficients, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"coefficients must be a list of finite numbers, got an array of shape {values.shape}")
    disc = _Disc(rows, columns, disc_cells)
    turning = disc.x + 1j * disc.y
    power = np.ones_like(turning)
    total = np.zeros(disc.x.size)
    for size, members in enumerate(_by_azimuthal_order(_count(values.size))):
        cosine, sine = np.zeros((2, disc.squared.size))
        for radial, pair in zip(_jacobi(size, 2 * disc.squared - 1), members, strict=False):
            for term in pair:
                (cosine if term % 2 == 0 or size == 0 else sine)[:] += (
                    values[term - 1] * _norm(*noll_to_nm(term)) * radial
                )
        total += cosine[disc.which] * power.real + sine[disc.which] * power.imag
        power *= turning
    surface = np.zeros((rows, columns))
    surface[disc.row, disc.column] = total
    return surface


def fit_zernike(surface: ArrayLike, terms: int, disc_cells: float | None = None) -> Array:
    """Coefficients of the first `terms` terms that come closest to a surface: float64 (terms,), in its unit.

    Least squares over the cells of the disc; what lies outside is ignored. Raises ValueError if the surface is not a
    finite (rows, columns) array, or has too few cells to tell the terms apart.
    """
    heights = np.asarray(surface, np.float64)
    if heights.ndim != 2 or not np.isfinite(heights).all():
        raise ValueError(f"surface must be a finite array of (rows, columns), got shape {heights.shape}")
    disc = _Disc(heights.shape[0], heights.shape[1], disc_cells)
    wanted = heights[disc.row, disc.column]
    gram = np.zeros((_count(terms), terms))
    projected = np.zeros(terms)
    for start in range(0, wanted.size, CELLS_AT_ONCE):
        part = slice(start, start + CELLS_AT_ONCE)
        values = _terms_at(terms, disc.x[part], disc.y[part])
        gram += values @ values.T
        projected += values @ wanted[part]
    # The terms are orthonormal on the disc, so the matrix is near a multiple of one unless the cells are too few.
    if np.linalg.cond(gram) > 1e8:
        raise ValueError(
            f"{wanted.size} cells in the disc do not tell {terms} Zernike terms apart: fit fewer terms or more cells"
        )
    return np.asarray(np.linalg.solve(gram, projected))


class _Disc:
    """The cells whose centres lie on the disc: their place, their position in radii, and their distinct distances."""

    def __init__(self, rows: int, columns: int, disc_cells: float | None) -> None:
        diameter = float(min(rows, columns) if disc_cells is None else disc_cells)
        if min(rows, columns) < 1 or not (math.isfinite(diameter) and diameter > 0):
            raise ValueError(
                f"a disc of {diameter:g} cells on {rows} x {columns} cells is not one: both must be positive"
            )
        # In half cells, so that equal distances are equal integers.
        y, x = (np.rint(2 * cell_positions_m(cells, 1.0)).astype(np.int64) for cells in (rows, columns))
        squared = y[:, np.newaxis] ** 2 + x**2
        self.row, self.column = np.nonzero(squared <= diameter**2 * (1 + 1e-12))
        if not self.row.size:
            raise ValueError(f"no cell's centre lies on a disc of {diameter:g} cells: make it larger")
        self.y, self.x = y[self.row] / diameter, x[self.column] / diameter
        distances, self.which = np.unique(squared[self.row, self.column], return_inverse=True)
        self.squared = distances / diameter**2


def _jacobi(size: int, at: Array) -> Iterator[Array]:
    """P_k^(0, size)(at) for k = 0, 1, ...: R_n^m(r) = r^m P_((n - m) / 2)^(0, m)(2 r^2 - 1).

    Three-term recurrence, DLMF 18.9.1 and 18.9.2 (https://dlmf.nist.gov/18.9), stable on [-1, 1].
    """
    before, now = np.ones_like(at), 1 + (size + 2) * (at - 1) / 2
    yield before
    for k in range(2, 1 << 30):
        yield now
        double = 2 * k + size
        grow = (double - 1) * (double * (double - 2) * at - size**2)
        shrink = 2 * (k - 1) * (k + size - 1) * double
        before, now = now, (grow * now - shrink * before) / (2 * k * (k + size) * (double - 2))


def _terms_at(terms: int, x: Array, y: Array) -> Array:
    """The first terms at points of the disc: float64 (terms, points)."""
    values = np.empty((terms, x.size))
    turning = x + 1j * y
    power = np.ones_like(turning)
    argument = 2 * (x**2 + y**2) - 1
    for size, members in enumerate(_by_azimuthal_order(terms)):
        for radial, pair in zip(_jacobi(size, argument), members, strict=False):
            for term in pair:
                around = power.real if term % 2 == 0 or size == 0 else power.imag
                values[term - 1] = _norm(*noll_to_nm(term)) * radial * around
        power *= turning
    return values


def _by_azimuthal_order(terms: int) -> list[list[list[int]]]:
    """The terms up to `terms` by |m|, then by n = |m|, |m| + 2, ...: one or two (cosine, sine) each."""
    found: list[list[list[int]]] = []
    for term in range(1, terms + 1):
        order, azimuthal = noll_to_nm(term)
        size = abs(azimuthal)
        while len(found) <= size:
            found.append([])
        step = (order - size) // 2
        while len(found[size]) <= step:
            found[size].append([])
        found[size][step].append(term)
    return found


def _norm(order: int, azimuthal: int) -> float:
    return math.sqrt((order + 1) * (1 if azimuthal == 0 else 2))


def _count(terms: int) -> int:
    if isinstance(terms, bool) or not isinstance(terms, int | np.integer) or terms < 1:
        raise ValueError(f"terms must be a whole number, at least 1, got {terms!r}")
    return int(terms)
