"""What masks are made of: refractive index by Sellmeier's or Cauchy's formula, its change with temperature, source."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Formula = Literal["sellmeier", "cauchy", "table"]
REFERENCE_CELSIUS = 20.0


@dataclass(frozen=True, slots=True)
class Material:
    """A transparent material in air.

    formula and coefficients, with L the wavelength in micrometres:
        "sellmeier": (B1, C1, B2, C2, ...), n^2 = 1 + sum of B L^2 / (L^2 - C), C in square micrometres.
        "cauchy": (A, B, C, ...), n = A + B / L^2 + C / L^4 + ...
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
    if not low <= micrometres <= high:
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

MATERIALS: dict[str, Material] = {material.name: material for material in (FUSED_SILICA,)}


def find_material(name: str) -> Material:
    """The material of that name. Raises ValueError that lists the known ones."""
    if name not in MATERIALS:
        raise ValueError(f"material {name!r} is not known: choose one of {', '.join(sorted(MATERIALS))}")
    return MATERIALS[name]
