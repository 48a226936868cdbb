"""Separable coded apertures from maximum length sequences, as in lensless cameras with a row and a column code.

The pattern is open where the row's and the column's sequence have the same sign. Sequences: S. W. Golomb, "Shift
Register Sequences" (1967); use in a camera: M. S. Asif et al., "FlatCam: Thin, Lensless Cameras Using Coded Aperture
and Computation", IEEE Trans. Comput. Imaging 3, 384 (2017), doi:10.1109/TCI.2016.2593662.
"""

import numpy as np
from numpy.typing import NDArray

from optics.mask import Geometry, Mask, MaskError
from optics.masks.apertures import aperture_mask
from optics.materials import FUSED_SILICA, Material

# Exponents of a primitive polynomial over the field of two elements for each degree; the constant term is understood.
PRIMITIVE = {
    2: (2, 1),
    3: (3, 2),
    4: (4, 3),
    5: (5, 3),
    6: (6, 5),
    7: (7, 6),
    8: (8, 6, 5, 4),
    9: (9, 5),
    10: (10, 7),
    11: (11, 9),
    12: (12, 11, 10, 4),
}


def mls_sequence(degree: int) -> NDArray[np.float64]:
    """A maximum length sequence: float64 (2^degree - 1,) of +1 and -1 with one +1 more.

    Its cyclic autocorrelation is 2^degree - 1 at no shift and -1 at every other. Raises MaskError.
    """
    if degree not in PRIMITIVE:
        raise MaskError(f"degree must be from {min(PRIMITIVE)} to {max(PRIMITIVE)}, got {degree!r}")
    length = 2**degree - 1
    bits = [1] * degree
    for step in range(degree, length):
        bits.append(sum(bits[step - exponent] for exponent in PRIMITIVE[degree]) % 2)
    return 2 * np.array(bits, dtype=np.float64) - 1


def mls_pattern(row_degree: int, column_degree: int) -> NDArray[np.float64]:
    """The pattern: float64 (2^row_degree - 1, 2^column_degree - 1), 1 open where the two sequences agree, else 0.

    Raises MaskError.
    """
    return (1 + np.outer(mls_sequence(row_degree), mls_sequence(column_degree))) / 2


def mls_decoder(row_degree: int, column_degree: int) -> NDArray[np.float64]:
    """The decoder: float64, shape of the pattern.

    Cyclic correlation of the pattern with it is 2^(row_degree + column_degree) / 2 at no shift and 0 at every other.
    (s + 1 undoes a sequence s exactly; the constant takes away what the pattern's mean leaves.) Raises MaskError.
    """
    rows, columns = mls_sequence(row_degree), mls_sequence(column_degree)
    total = (rows.size + 1) * (columns.size + 1)
    return np.outer(rows + 1, columns + 1) - total / (rows.size * columns.size + 1)


def mls_mask(
    row_degree: int,
    column_degree: int,
    feature_cells: int = 1,
    pitch_m: float = 2e-6,
    geometry: Geometry | None = None,
    tiles: int = 1,
    material: Material = FUSED_SILICA,
) -> Mask:
    """The pattern with features of feature_cells x feature_cells cells: see `aperture_mask`. Raises MaskError."""
    pattern = mls_pattern(row_degree, column_degree)
    about = {"made_by": "mls", "row_degree": row_degree, "column_degree": column_degree}
    return aperture_mask(pattern, feature_cells, pitch_m, geometry, tiles, material, about)
