"""Colour planes of a Bayer mosaic: every sample belongs to one colour, and none is mixed with another.

A plane has one value for each 2 x 2 quad: the red sample, the mean of the two green ones, the blue one. So a plane's
pixel pitch is twice the sensor's, and red, green and blue of one quad lie up to one sensor pixel apart (a quarter of a
plane pixel from the quad's centre); `SITE_OFFSET_PX` says where, for whoever compares colours to less than that.
"""

import numpy as np
from numpy.typing import NDArray

ORDERS = ("RGGB", "BGGR", "GRBG", "GBRG")
# Position of each site of a quad against the quad's centre, in plane pixels: (row, column), row by row.
SITE_OFFSET_PX = ((-0.25, -0.25), (-0.25, 0.25), (0.25, -0.25), (0.25, 0.25))


def sites(mosaic: NDArray[np.generic], order: str) -> dict[str, list[int]]:
    """Which of the four sites (0..3, row by row) hold each colour: {"R": [0], "G": [1, 2], "B": [3]} for "RGGB".

    Raises ValueError for an order that is none, or a mosaic (rows, columns) with an odd side.
    """
    if order not in ORDERS:
        raise ValueError(f"a Bayer order is one of {', '.join(ORDERS)}, got {order!r}")
    _sides(mosaic)
    return {colour: [index for index, name in enumerate(order) if name == colour] for colour in "RGB"}


def _sides(mosaic: NDArray[np.generic]) -> tuple[int, int]:
    """Rows and columns of a mosaic; ValueError for one that has no whole number of quads."""
    if mosaic.ndim != 2 or mosaic.shape[0] % 2 or mosaic.shape[1] % 2:
        raise ValueError(f"a Bayer mosaic has an even number of rows and columns, got {mosaic.shape}")
    return mosaic.shape[0], mosaic.shape[1]


def quads(mosaic: NDArray[np.generic]) -> NDArray[np.generic]:
    """The four sites of every quad, row by row: a copy, (4, rows / 2, columns / 2) of a mosaic (rows, columns).

    Raises ValueError for an odd side.
    """
    rows, columns = _sides(mosaic)
    split = mosaic.reshape(rows // 2, 2, columns // 2, 2)
    return split.transpose(1, 3, 0, 2).reshape(4, rows // 2, columns // 2)


def planes(
    mosaic: NDArray[np.integer] | NDArray[np.floating],
    order: str,
    black_dn: tuple[float, float, float, float],
    white_dn: float,
    dtype: type[np.floating] = np.float32,
) -> NDArray[np.floating]:
    """Planes R, G, B of a mosaic in fractions of full scale: (3, rows / 2, columns / 2) of `dtype`.

    mosaic: (rows, columns) of digital numbers. black_dn: black level of the four sites, row by row; it is subtracted
    from each site, and (white_dn - black) becomes 1. Values below black stay negative: clipping them would make dark
    noise look like light. Raises ValueError for an odd side, another order, or black at white.
    """
    where = sites(mosaic, order)
    if not all(black < white_dn for black in black_dn):
        raise ValueError(f"black ({black_dn}) must be below white ({white_dn})")
    rows, columns = mosaic.shape
    out = np.empty((3, rows // 2, columns // 2), dtype)
    for plane, colour in enumerate("RGB"):
        total = out[plane]
        total[...] = 0
        for site in where[colour]:
            samples = mosaic[site // 2 :: 2, site % 2 :: 2].astype(dtype)
            samples -= dtype(black_dn[site])
            samples *= dtype(1 / ((white_dn - black_dn[site]) * len(where[colour])))
            total += samples
    return out


def mosaic_of(
    planes_rgb: NDArray[np.floating], order: str, out: NDArray[np.floating] | None = None
) -> NDArray[np.floating]:
    """The mosaic that samples planes (3, rows, columns): (2 rows, 2 columns), every site the value of its colour.

    out: where to write it; a new array of the planes' dtype where it is None. Raises ValueError for an order that is
    none, or other planes than three.
    """
    if order not in ORDERS or planes_rgb.ndim != 3 or planes_rgb.shape[0] != 3:
        raise ValueError(
            f"a mosaic is made of 3 planes in one of {', '.join(ORDERS)}, got {planes_rgb.shape}, {order!r}"
        )
    rows, columns = planes_rgb.shape[-2:]
    mosaic = np.empty((2 * rows, 2 * columns), planes_rgb.dtype) if out is None else out
    for site, name in enumerate(order):
        mosaic[site // 2 :: 2, site % 2 :: 2] = planes_rgb["RGB".index(name)]
    return mosaic
