"""Fringes mirrored onto their own carrier by the panel's pixels: how much of them there is, from the amplitude.

A real picture has its fringes twice, at the carrier f with the phase p and at -f with -p. The panel's pixels are a
grating of frequency g where its phase has a slope: they diffract the second to g - f. With one fringe to two pixels
(f = g / 2) that is the carrier itself, no window tells the two apart, and a region gives A (exp(ip) + b exp(-ip)).
To first order in b the phase is then off by Im(b exp(-2ip)), and the amplitude by the share Re(b exp(-2ip)): what goes
round with twice the phase in the amplitude gives b, whatever made it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.phase_lut import Sweep, two_half_phases

# Terms of the fit: constant, once round in two parts (light of no fringes, gaps of the panel), twice round in two.
_TERMS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Mirrored:
    """shares: complex128 (regions,), b of each region; 0 where it was never under test. sigma: standard uncertainty of
    either part of one of them. Of means and mean squares the noise is taken out: where it is all there is, they are 0.
    """

    shares: NDArray[np.complex128]
    sigma: float

    @property
    def rms(self) -> float:
        """Root mean square over the regions."""
        return float(np.sqrt(max(float((np.abs(self.shares) ** 2).mean()) - 2 * self.sigma**2, 0.0)))

    def together(self, regions: NDArray[np.bool_] | None = None) -> float:
        """Size of the mean share of some regions, bool (regions,), or of all: what their mean phase is off by."""
        chosen = self.shares if regions is None else self.shares[regions]
        return float(np.sqrt(max(float(np.abs(chosen.mean()) ** 2) - 2 * self.sigma**2 / chosen.size, 0.0)))


def mirrored_of(sweeps: Sequence[Sweep]) -> Mirrored:
    """The share of mirrored fringes in every region, by least squares to the squared amplitudes of all sweeps.

    sweeps: one or more. Amplitudes count against the mean one of the reference regions in the same picture (a laser's
    power cancels). Raises ValueError for halves that were seen in fewer pictures than the fit has terms.
    """
    regions = sweeps[0].test.size
    shares = np.zeros(regions, np.complex128)
    variances = []
    for region in range(regions):
        phases, amplitudes = [], []
        for sweep in (each for each in sweeps if each.test[region]):
            size = np.abs(sweep.phasors)
            phases.append(two_half_phases(sweep)[0][:, region])
            amplitudes.append(size[:, region] / np.maximum(size[:, ~sweep.test].mean(axis=1), 1e-300))
        if not phases:
            continue
        phase, amplitude = np.concatenate(phases), np.concatenate(amplitudes)
        if phase.size <= _TERMS:
            raise ValueError(f"mirrored fringes are told from more than {_TERMS} pictures, got {phase.size}")
        # Around any middle c a circle is |z|^2 = k + 2 Re(z c*), exactly, so that light of no fringes gives no share.
        design = np.column_stack([
            np.ones(phase.size), amplitude * np.cos(phase), amplitude * np.sin(phase),
            np.cos(2 * phase), np.sin(2 * phase),
        ])  # fmt: skip
        found = np.linalg.lstsq(design, amplitude**2, rcond=None)[0]
        left = amplitude**2 - design @ found
        covariance = np.linalg.pinv(design.T @ design) * (left @ left) / (phase.size - _TERMS)
        shares[region] = (found[3] + 1j * found[4]) / (2 * found[0])
        variances.append((covariance[3, 3] + covariance[4, 4]) / 2 / (2 * found[0]) ** 2)
    return Mirrored(shares, float(np.sqrt(np.mean(variances))) if variances else 0.0)
