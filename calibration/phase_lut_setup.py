"""Whether a modulator's interferometer is set up right: fringes, light, rest, and a panel that answers with phase."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.phase_lut_fringes import Phasors, complex_of

# Light that fills the scale in more than this share of the pixels even at the shortest exposure.
MOST_SATURATED = 0.002
# Fringes are there from this amplitude on, over the noise of a picture and over everything else in its spectrum.
LEAST_SNR, LEAST_VISIBILITY = 8.0, 0.08
# Mean light, fraction of full scale at the longest exposure, below which there is none.
LEAST_LIGHT = 0.02
# Common phase of all regions from picture to picture: beyond it fringes smear in longer exposures, and may jump a turn.
MOST_VIBRATION_RAD = 0.5
# A panel that answers with less than this, in phase and in amplitude, does not answer at all.
LEAST_PHASE_RAD, LEAST_CHANGE = 0.15, 0.08
# A share of amplitude that levels switch: phase modulators do not.
MOST_CHANGE = 0.3
# A phase that still moves so fast, as a share of the step between the last pictures of its record, is not settled.
MOST_CREEP = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a first look gives. off: the display says that nothing is plugged in.

    still: complex128 (n, regions), phasors of pictures of level 0. floor: complex128 (n, frequencies, regions).
    background: float64 (regions,), fractions of full scale. saturated: share of the picture's sites at full scale.
    answers: complex128 (levels, regions), phasors of a few levels shown by one half. test: bool (regions,), that half.
    """

    off: bool
    still: Phasors
    floor: NDArray[np.complex128]
    background: NDArray[np.float64]
    saturated: float
    answers: Phasors
    test: NDArray[np.bool_]

    @property
    def snr(self) -> float:
        """Fringe over noise of one picture: median over the regions."""
        noise = np.sqrt((np.abs(self.floor - self.floor.mean(axis=0)) ** 2).mean())
        return float(np.median(np.abs(self.still))) / max(float(noise), 1e-12)

    @property
    def visibility(self) -> float:
        """Visibility of the fringes: median over the regions."""
        seen = 2 * np.abs(self.still).mean(axis=0) / np.maximum(self.background, 1e-6)
        return float(np.median(seen))

    @property
    def leak(self) -> float:
        """What is at the carrier and no fringe, over the fringe: root mean square over frequencies and regions."""
        # The mean over the pictures still holds a share of their noise.
        constant = np.abs(self.floor.mean(axis=0)) ** 2
        noise = (np.abs(self.floor - self.floor.mean(axis=0)) ** 2).sum(axis=0)
        count = self.floor.shape[0]
        kept = float(np.maximum(constant - noise / count / (count - 1), 0).mean()) ** 0.5
        return float(kept / max(float(np.median(np.abs(self.still))), 1e-12))

    @property
    def vibration_rad(self) -> tuple[float, float]:
        """Rms phase that all regions share over the pictures, and its standard uncertainty.

        Against their mean, not from picture to picture: a motion near a multiple of the frame rate changes little
        between two pictures. A motion of few frequencies beats for longer than the record: the mean square's variance
        has the squared autocorrelation summed (Bartlett's formula), 1 for white motion.
        """
        common = np.unwrap(np.angle((self.still * np.conj(self.still[0])).sum(axis=1)))
        rms = float(np.std(common, ddof=1))
        centred = common - common.mean()
        alike = np.correlate(centred, centred, "full") / max(float(centred @ centred), 1e-300)
        return rms, float(rms * np.sqrt((alike**2).sum() / (2 * (common.size - 1))))

    @property
    def fixed(self) -> Phasors:
        """Mean phasor of each region at level 0, what moves all of them together taken out: complex128 (regions,)."""
        common = (self.still * np.conj(self.still[0])).sum(axis=1, keepdims=True)
        return np.asarray((self.still * np.exp(-1j * np.angle(common))).mean(axis=0))

    @property
    def answered_rad(self) -> NDArray[np.float64]:
        """Phase of the half under test for the levels of `answers`, unwrapped from the first: float64 (levels,)."""
        turned = self.answers * np.conj(self.answers[0])
        own = turned[:, self.test].sum(axis=1) * np.conj(turned[:, ~self.test].sum(axis=1))
        return np.asarray(np.unwrap(np.angle(own)))

    @property
    def amplitude_change(self) -> float:
        """Largest relative change of the half's fringe amplitude with the level, the other half's change taken out."""
        size = np.abs(self.answers)
        ratio = size[:, self.test].mean(axis=1) / np.maximum(size[:, ~self.test].mean(axis=1), 1e-12)
        return float((ratio.max() - ratio.min()) / max(float(ratio.max()), 1e-12))


def look_of(data: Mapping[str, NDArray[np.generic]]) -> Look:
    """The first look as its step gives it: complex arrays as NAME_re and NAME_im; `off` alone where nothing is on."""
    if data["off"]:
        nothing = np.zeros((1, 1), np.complex128)
        return Look(True, nothing, nothing[None], np.zeros(1), 0.0, nothing, np.zeros(1, np.bool_))
    still, floor, answers = (complex_of(data, name) for name in ("still", "floor", "answers"))
    background = np.asarray(data["background"], dtype=np.float64)
    test = np.asarray(data["test"], dtype=np.bool_)
    return Look(False, still, floor, background, float(np.asarray(data["saturated"])), answers, test)


def recognise(look: Look) -> tuple[str, str] | None:
    """The wrong set-up that a first look shows, its short name and what was seen and to do; None where it is none."""
    if look.off:
        return "slm_off", (
            "the modulator's video output has nothing plugged in that is on: switch the modulator on, check its cable; "
            "`canopic doctor` lists the outputs"
        )
    if look.saturated > MOST_SATURATED:
        return "too_bright", (
            f"{look.saturated:.1%} of the picture is at full scale at the shortest exposure: put a grey filter into "
            "the laser's beam, or turn it down"
        )
    if look.snr < LEAST_SNR or look.visibility < LEAST_VISIBILITY:
        light = float(np.median(look.background))
        seen = (
            f"hardly any light ({light:.1%} of full scale at the longest exposure): switch the laser on, open its path"
            if light < LEAST_LIGHT
            else f"light, but fringes of visibility {max(look.visibility, 0):.2f} only: align both arms of the "
            "interferometer until straight fringes, 4 or more to each sixteenth of the picture, stand out"
        )
        return "no_fringes", f"there is {seen}"
    vibration_rad, _ = look.vibration_rad
    if vibration_rad > MOST_VIBRATION_RAD:
        return "vibrating", (
            f"the fringes move by {vibration_rad:.2f} rad rms from picture to picture, at most {MOST_VIBRATION_RAD} is "
            "good: put the interferometer on a heavy plate on foam, stop fans, wait for warm air to rest"
        )
    phase_rad = float(np.ptp(look.answered_rad))
    change = look.amplitude_change
    if phase_rad < LEAST_PHASE_RAD and change < LEAST_CHANGE:
        return "slm_off", (
            f"no grey level changes phase or amplitude (by {phase_rad:.2f} rad and {change:.0%}): the panel does not "
            "get the picture. Is it the right display (mask.slm_display), is the panel's own power on?"
        )
    if change > MOST_CHANGE or phase_rad < 2.0:
        return "wrong_polarisation", (
            f"grey levels change the amplitude by {change:.0%} and the phase by {phase_rad:.2f} rad: turn the "
            "polariser (or a half-wave plate) until the light is polarised along the panel's director"
        )
    return None
