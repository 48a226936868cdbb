"""Acquires a modulator's fringes: inside the boundary each picture becomes a number for each region, and is zeroed."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from calibration.bayer import planes
from calibration.phase_lut_fringes import Picture, find_carrier, halves, reduce_picture
from calibration.phase_lut_settling import creep, fit_step, shares_left
from calibration.phase_lut_setup import MOST_CREEP, Look, look_of, recognise
from host.board.deadline import Deadline
from host.boundary.rig import Rig
from host.calibrate.procedure import Step, StepData, scalar
from host.calibrate.run import SessionError
from host.camera.about import Exposed
from host.mask.errors import SlmError, SlmOff
from host.mask.slm import Slm

STEP_S = 600.0
# Brightest fringes at this fraction of full scale.
AIM = 0.7
FIRST_US, LONGEST_US = 1000.0, 8000.0
Pattern = NDArray[np.uint8]
T = TypeVar("T")


def acquire(rig: Rig, step: Step, before: Mapping[str, StepData]) -> StepData:
    """One step: "look", "settle", "sweep" or "hold" (settings["what"]). Raises SessionError, and what a camera raises.

    Every step after the first one is skipped where that showed a wrong set-up.
    """
    if not isinstance(rig.slm, Slm):
        raise SessionError("no modulator: set mask.kind: slm and mask.slm_display in the configuration")
    rig.arrange(step.setup)
    rig.light.set(True)
    bench = _Fringes(rig, rig.slm, Deadline(STEP_S, f"acquiring the step {step.name}"), step.settings)
    what = step.settings["what"]
    try:
        if what == "look":
            return bench.look()
        seen = before["look"]
        if not seen["usable"]:
            return {"skipped": scalar(1)}
        bench.resume(seen)
        if what in ("sweep", "hold"):
            if creep(before["settle"]) > MOST_CREEP:
                return {"skipped": scalar(1)}
            bench.wait(before["settle"])
        made: Callable[[], StepData] = {"settle": bench.settle, "sweep": bench.sweep, "hold": bench.hold}[what]
        return made()
    except SlmOff as error:
        if what == "look":
            return {"off": scalar(1), "usable": scalar(0)}
        raise SessionError(f"{error}; run the calibration again, it goes on with this step") from error
    except SlmError as error:
        raise SessionError(str(error)) from error


class _Fringes:
    """The bench of one step."""

    def __init__(self, rig: Rig, slm: Slm, deadline: Deadline, settings: Mapping[str, Any]) -> None:
        self._rig, self._slm, self._deadline, self._settings = rig, slm, deadline, settings
        self._carrier = (0.0, 0.0)
        self._mirrored = False
        self._wait_s = float(settings["wait_s"])
        self._seen: StepData = {}

    def wait(self, watched: StepData) -> None:
        """Wait for as long as the steps that were watched need until e^-8 of them is left."""
        steps = [fit_step(*shares_left(watched, falling)) for falling in (False, True)]
        needed_s = max(delay_s + 8 * constant_s for delay_s, constant_s in steps)
        self._wait_s = float(np.clip(needed_s, 0.02, 2 * self._wait_s))

    def resume(self, seen: StepData) -> None:
        """Take up what the first look found."""
        self._carrier = (float(seen["carrier"][0]), float(seen["carrier"][1]))
        self._mirrored = bool(seen["mirrored"])
        self._seen = seen
        self._rig.camera.set_exposure(float(seen["exposure_us"]), float(seen["gain"]))

    def look(self) -> StepData:
        """Exposure, carrier, rest, and how one half answers to a few levels."""
        self._show(self._pattern(0))
        exposure_us, gain, saturated = self._expose()
        self._carrier = self._capture(lambda plane, _mosaic, _about: find_carrier(plane))
        still = [self._picture(floor=True) for _ in range(int(self._settings["still"]))]
        asked = [int(level) for level in self._settings["levels"]]
        answers = []
        for level in asked:
            self._show(self._pattern(level))
            answers.append(self._picture())
        self._mirrored = self._answers_on_the_right(answers)
        test = halves() ^ self._mirrored
        look = Look(
            False,
            np.stack([each.phasors for each in still]),
            np.stack([each.floor for each in still]),
            np.mean([each.background for each in still], axis=0),
            saturated,
            np.stack([each.phasors for each in answers]),
            test,
        )
        wrong = recognise(look)
        return {
            "off": scalar(0),
            "usable": scalar(wrong is None),
            "carrier": np.array(self._carrier),
            "mirrored": scalar(self._mirrored),
            "exposure_us": scalar(exposure_us),
            "gain": scalar(gain),
            "saturated": scalar(saturated),
            "background": look.background,
            "levels": np.array(asked, dtype=np.int64),
            "test": test,
            **_parts("still", look.still),
            **_parts("floor", look.floor),
            **_parts("answers", look.answers),
        }

    def settle(self) -> StepData:
        """Steps of one half from level 0 up and down again, watched picture by picture from the writing on."""
        level, repeats = self._level_of(float(self._settings["step_rad"])), int(self._settings["repeats"])
        watch_s = float(self._settings["watch_s"])
        extra_s = np.random.default_rng(repeats).uniform(0, 0.3, (repeats, 2))
        after, phasors, ways, runs = [], [], [], []
        self._show(self._pattern(0))
        for run in range(repeats):
            for way, target in enumerate((level, 0)):
                written_s = self._slm.write(self._pattern(target))
                passed_s = 0.0
                # Runs of unlike lengths: else a ripple could meet every run in the same phase, and never show.
                while passed_s < watch_s + extra_s[run, way]:
                    phasor, passed_s = self._capture(
                        lambda plane, _mosaic, about: (
                            reduce_picture(plane, self._carrier).phasors,
                            about.time_s + about.exposure_us / 2e6 - written_s,  # noqa: B023 - called at once
                        )
                    )
                    after.append(passed_s)
                    phasors.append(phasor)
                    ways.append(way)
                    runs.append(run)
                    self._deadline.check()
        return {
            "after_s": np.array(after),
            "falling": np.array(ways, dtype=np.int64),
            "run": np.array(runs, dtype=np.int64),
            "level": scalar(level),
            "test": halves() ^ self._mirrored,
            **_parts("phasors", np.stack(phasors)),
        }

    def sweep(self) -> StepData:
        """One picture of each level, level 0 in between, in an order that drifts do not follow."""
        other = bool(self._settings["other_half"])
        order = [int(level) for level in self._settings["order"]]
        # After unlike numbers of frames: at even steps a ripple could meet every level of a sweep in the same phase.
        frames = np.random.default_rng(order).integers(0, 4, len(order))
        phasors = []
        for level, more in zip(order, frames, strict=True):
            self._show(self._pattern(level, other))
            for _ in range(int(more)):
                self._rig.camera.capture(lambda _mosaic, _about: None, self._deadline)
            phasors.append(self._picture().phasors)
        return {
            "levels": np.array(order, dtype=np.int64),
            "test": halves() ^ self._mirrored ^ other,
            **_parts("phasors", np.stack(phasors)),
        }

    def hold(self) -> StepData:
        """Many pictures of one level, and as many of level 0."""
        made: dict[str, NDArray[Any]] = {}
        for name, level in (("still", int(self._settings["level"])), ("dark", 0)):
            self._show(self._pattern(level))
            kept = [self._picture().phasors for _ in range(int(self._settings["pictures"]))]
            made |= _parts(name, np.stack(kept))
        return {**made, "level": scalar(int(self._settings["level"])), "test": halves() ^ self._mirrored}

    def _level_of(self, phase_rad: float) -> int:
        """The level that gives about this phase, from the first look."""
        look = look_of(self._seen)
        phases = np.maximum.accumulate(np.abs(look.answered_rad))
        return int(np.clip(round(float(np.interp(phase_rad, phases, self._seen["levels"]))), 8, 255))

    def _pattern(self, level: int, other_half: bool = False) -> Pattern:
        """One half of the panel at a level, the other at 0."""
        levels = np.zeros(self._slm.shape, np.uint8)
        middle = levels.shape[1] // 2
        levels[:, slice(middle, None) if other_half else slice(None, middle)] = level
        return levels

    def _show(self, levels: Pattern) -> None:
        written_s = self._slm.write(levels)
        ready_s = written_s + self._wait_s
        while self._rig.camera.capture(lambda _mosaic, about: about.time_s, self._deadline) < ready_s:
            self._deadline.check()

    def _picture(self, floor: bool = False) -> Picture:
        self._deadline.check()
        return self._capture(lambda plane, _mosaic, _about: reduce_picture(plane, self._carrier, floor))

    def _expose(self) -> tuple[float, float, float]:
        """Bring the brightest fringes to AIM; (exposure_us, gain, share of sites at full scale)."""
        exposure_us, gain = self._rig.camera.set_exposure(FIRST_US, 1.0)
        saturated = 0.0
        for _ in range(6):
            peak, saturated = self._capture(
                lambda plane, mosaic, about: (
                    float(np.percentile(plane, 99.5)), float((mosaic >= about.white_dn).mean())
                )
            )  # fmt: skip
            if 0.8 * AIM < peak < 1.2 * AIM and saturated == 0:
                break
            factor = AIM / peak if saturated == 0 and peak > 0 else 0.25
            wanted_us = exposure_us * float(np.clip(factor, 0.05, 20))
            exposure_us, gain = self._rig.camera.set_exposure(min(wanted_us, LONGEST_US), 1.0)
        return exposure_us, gain, saturated

    def _answers_on_the_right(self, answers: list[Picture]) -> bool:
        """Whether the camera sees the panel's left half on its right."""
        phasors = np.stack([each.phasors for each in answers])
        turned, left = phasors * np.conj(phasors[0]), halves()
        return _stillness(turned[:, left]) > _stillness(turned[:, ~left])

    def _capture(self, reduce: Callable[[NDArray[np.float64], NDArray[np.uint16], Exposed], T]) -> T:
        """One picture's green plane, in fractions of full scale, given to `reduce` and zeroed."""

        def consume(mosaic: NDArray[np.uint16], about: Exposed) -> T:
            colours = planes(mosaic, about.bayer, about.black_dn, about.white_dn, np.float64)
            try:
                return reduce(np.asarray(colours[1], dtype=np.float64), mosaic, about)
            finally:
                colours.fill(0)

        return self._rig.camera.capture(consume, self._deadline)


def _stillness(turned: NDArray[np.complex128]) -> float:
    """How little the phase of these regions moves from level to level, vibration included: 1 is not at all."""
    mean = turned.mean(axis=1)
    mean /= np.maximum(np.abs(mean), 1e-12)
    return float(np.abs(mean.mean()))


def _parts(name: str, values: NDArray[np.complex128]) -> dict[str, NDArray[np.float64]]:
    """A complex array as two of real numbers, as step data has them."""
    return {f"{name}_re": values.real.copy(), f"{name}_im": values.imag.copy()}
