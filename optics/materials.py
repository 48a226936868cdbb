"""What masks are made of: refractive index by Sellmeier's or Cauchy's formula, its change with temperature, source."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Formula = Literal["sellmeier", "cauchy", "powers", "table"]
REFERENCE_CELSIUS = 20.0


@dataclass(frozen=True, slots=True)
class Material:
    """A transparent material in air.

    formula and coefficients, with L the wavelength in micrometres:
        "sellmeier": (B1, C1, B2, C2, ...), n^2 = 1 + sum of B L^2 / (L^2 - C), C in square micrometres.
        "cauchy": (A, B, C, ...), n = A + B / L^2 + C / L^4 + ...
        "powers": (A, c1, p1, c2, p2, ...), n^2 = A + sum of c L^p.
        "table": (L1, n1, L2, n2, ...), linear in between, L ascending.
    range_um: wavelengths for which the source gives the formula. dn_dt_per_k: change of the index with temperature.
    expansion_per_k: linear thermal expansion. source: where all of this comes from.
    """

    name: str
    formula: Formula
    coefficients: tuple[float, ...]
    range_um: tuple[float, float]
    dn_dt_per_k: float
    expansion_per_k: float
    source: str


def refractive_index(material: Material, wavelength_m: float, celsius: float = REFERENCE_CELSIUS) -> float:
    """Index of the material relative to air at a wavelength in metres.

    Raises ValueError outside the range that the source covers.
    """
    micrometres = wavelength_m * 1e6
    low, high = material.range_um
    # To the femtometre: 460e-9 * 1e6 is a little less than 0.46.
    if not low - 1e-9 <= micrometres <= high + 1e-9:
        raise ValueError(
            f"{material.name} is described from {low:g} to {high:g} um, not at {micrometres:g} um: "
            "choose a wavelength in that range or another material"
        )
    values = material.coefficients
    if material.formula == "sellmeier":
        squared = micrometres**2
        index = (1 + sum(b * squared / (squared - c) for b, c in zip(values[::2], values[1::2], strict=True))) ** 0.5
    elif material.formula == "cauchy":
        index = sum(value / micrometres ** (2 * power) for power, value in enumerate(values))
    elif material.formula == "powers":
        index = (values[0] + sum(c * micrometres**p for c, p in zip(values[1::2], values[2::2], strict=True))) ** 0.5
    else:
        index = float(np.interp(micrometres, values[::2], values[1::2]))
    return float(index + material.dn_dt_per_k * (celsius - REFERENCE_CELSIUS))


FUSED_SILICA = Material(
    "fused_silica",
    "sellmeier",
    (0.6961663, 0.0684043**2, 0.4079426, 0.1162414**2, 0.8974794, 9.896161**2),
    (0.21, 3.71),
    8.5e-6,
    0.55e-6,
    "I. H. Malitson, J. Opt. Soc. Am. 55, 1205 (1965), doi:10.1364/JOSA.55.001205",
)

# dn/dT: Schott's constants D0 = 1.86e-6, E0 = 4.34e-7, 0.17 um give 1.5e-6 in vacuum at 546 nm; air, which thins by
# 0.92e-6, adds that times the index.
N_BK7 = Material(
    "n_bk7",
    "sellmeier",
    (1.03961212, 0.00600069867, 0.231792344, 0.0200179144, 1.01046945, 103.560653),
    (0.3, 2.5),
    2.9e-6,
    7.1e-6,
    "SCHOTT optical glass catalogue of 2017-01-20, N-BK7 517642.251",
)

# One Sellmeier term holds the index to 1e-3 in the visible; its dispersion is 6 to 9 % too strong (see the tests).
_PLASTICS = (
    "N. Sultanova, S. Kasarova, I. Nikolov, Acta Physica Polonica A 116, 585 (2009), "
    "doi:10.12693/APhysPolA.116.585, in the one-term Sellmeier fit of refractiveindex.info"
)
_OSAKA = "dn/dT and expansion: comparison columns of Osaka Gas Chemicals' data sheet of OKP4"

PMMA = Material(
    "pmma",
    "powers",
    (2.1778, 6.1209e-3, 2, -1.5004e-3, 4, 2.3678e-2, -2, -4.2137e-3, -4, 7.3417e-4, -6, -4.5042e-5, -8),
    (0.42, 1.62),
    -10e-5,
    6e-5,
    f"G. Beadie et al., Appl. Opt. 54, F139 (2015), doi:10.1364/AO.54.00F139; {_OSAKA}",
)

POLYCARBONATE = Material(
    "polycarbonate", "sellmeier", (1.4182, 0.021304), (0.4368, 1.052), -12e-5, 7e-5, f"{_PLASTICS}; {_OSAKA}"
)

POLYSTYRENE = Material(
    "polystyrene",
    "sellmeier",
    (1.4435, 0.020216),
    (0.4368, 1.052),
    -14e-5,
    7e-5,
    f"{_PLASTICS}; dn/dT and expansion (6e-5 to 8e-5): Apollo Optical Systems, common polymers for optical components",
)

ZEONEX_E48R = Material(
    "zeonex_e48r",
    "sellmeier",
    (1.2969, 0.011721),
    (0.4368, 1.052),
    -10e-5,
    7e-5,
    f"{_PLASTICS}; {_OSAKA} (cyclo-olefin polymer)",
)

SU_8 = Material(
    "su_8",
    "cauchy",
    (1.5525, 0.00629, 0.0004),
    (0.32, 1.7),
    -5.3e-5,
    5.2e-5,
    "MicroChem, data sheet of SU-8 3000 (2011); dn/dT: S. A. Medina-Rangel et al., Photonics 11, 800 (2024), "
    "doi:10.3390/photonics11090800, at 850 nm; expansion: H. Lorenz et al., Microelectron. Eng. 41/42, 371 (1998)",
)

IP_DIP = Material(
    "ip_dip",
    "cauchy",
    (1.5273, 6.5456e-3, 2.5345e-4),
    (0.4, 1.7),
    -10e-5,
    6e-5,
    "T. Gissibl, S. Wagner, J. Sykora, M. Schmid, H. Giessen, Opt. Mater. Express 7, 2293 (2017), "
    "doi:10.1364/OME.7.002293; dn/dT and expansion: not given there, those of PMMA stand in",
)

MATERIALS: dict[str, Material] = {
    material.name: material
    for material in (FUSED_SILICA, N_BK7, PMMA, POLYCARBONATE, POLYSTYRENE, ZEONEX_E48R, SU_8, IP_DIP)
}


def find_material(name: str) -> Material:
    """The material of that name. Raises ValueError that lists the known ones."""
    if name not in MATERIALS:
        raise ValueError(f"material {name!r} is not known: choose one of {', '.join(sorted(MATERIALS))}")
    return MATERIALS[name]


def table_material(
    name: str,
    wavelengths_m: ArrayLike,
    indices: ArrayLike,
    source: str,
    dn_dt_per_k: float = 0.0,
    expansion_per_k: float = 0.0,
) -> Material:
    """A material of which the index is known at some wavelengths: linear in between, not described beyond them.

    wavelengths_m: (points,), metres, in any order, each once; indices: (points,), at least 1. Raises ValueError.
    """
    lengths, values = np.asarray(wavelengths_m, np.float64), np.asarray(indices, np.float64)
    if lengths.ndim != 1 or lengths.shape != values.shape or lengths.size < 2:
        raise ValueError(
            f"{name}: give at least two wavelengths and as many indices, got {lengths.shape} and {values.shape}"
        )
    if not (np.isfinite(lengths).all() and lengths.min() > 0 and np.unique(lengths).size == lengths.size):
        raise ValueError(f"{name}: wavelengths_m must be positive, in metres, and each given once")
    if not (np.isfinite(values).all() and values.min() >= 1):
        raise ValueError(f"{name}: indices must be numbers of at least 1, got {values.tolist()}")
    order = np.argsort(lengths)
    micrometres = (lengths[order] * 1e6).tolist()
    points = [number for pair in zip(micrometres, values[order].tolist(), strict=True) for number in pair]
    return Material(
        name, "table", tuple(points), (micrometres[0], micrometres[-1]), dn_dt_per_k, expansion_per_k, source
    )


def abbe_number(material: Material) -> float:
    """Vd = (n_d - 1) / (n_F - n_C) at 587.56, 486.13 and 656.27 nm: how little the material disperses.

    Raises ValueError where the material is not described at these lines.
    """
    yellow, blue, red = (refractive_index(material, line_m) for line_m in (587.5618e-9, 486.1327e-9, 656.2725e-9))
    return (yellow - 1) / (blue - red)
