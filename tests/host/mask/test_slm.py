"""The modulator's driver: right levels, an error where the panel is unplugged, captures once it stands."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from host.board.deadline import Deadline
from host.board.errors import DeadlineExceeded
from host.mask.errors import SlmOff, SlmUnsuitable
from host.mask.interlock import slm_cause
from host.mask.slm import LINEAR_LUT, Slm
from host.twin.slm import Panel, SlmTwin
from optics.masks import Slm as SlmGeometry
from optics.masks import drive_to_phase, phase_to_drive, slm_modulation

SHAPE = (12, 16)
LINEAR = np.arange(256) * 2 * np.pi / 256


class Clock:
    def __init__(self) -> None:
        self.now_s = 5.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def frame(self) -> float:
        self.now_s += 1 / 30
        return self.now_s


def panel(**changed) -> Panel:
    made = {"level_phases_rad": LINEAR, "gain": np.ones(SHAPE), "static_rad": np.zeros(SHAPE)}
    return Panel(**{**made, **changed})


def driver(clock=None, settle_s=0.1, lut=None, correction=None, **changed):
    clock = clock or Clock()
    twin = SlmTwin(panel(**changed), clock)
    return clock, twin, Slm(twin, lut, correction, settle_s, clock.sleep)


@given(st.lists(st.floats(-1e3, 1e3), min_size=192, max_size=192))
def test_levels_are_those_of_the_optics_model(phases):
    phase = np.reshape(phases, SHAPE)
    _, _, slm = driver()
    wanted = phase_to_drive(phase, SlmGeometry(*SHAPE, 8e-6))
    shown = slm.levels_of(phase)
    # Half-way between two levels either is as good.
    off = np.angle(np.exp(1j * (LINEAR[shown] - phase)))
    assert np.abs(off).max() <= np.pi / 256 + 1e-9
    assert np.abs(np.angle(np.exp(1j * (LINEAR[wanted] - LINEAR[shown])))).max() <= 2 * np.pi / 256 + 1e-9


def test_table_and_correction():
    backwards = LINEAR_LUT[::-1]
    correction = np.full(SHAPE, np.pi)
    _, twin, slm = driver(lut=backwards, correction=correction)
    slm.write(slm.levels_of(np.zeros(SHAPE)))
    assert (slm.levels_of(np.zeros(SHAPE)) == 255 - 128).all()
    assert (slm.levels_of(np.full(SHAPE, -np.pi)) == 255).all()
    assert np.allclose(twin.phase_rad(9), LINEAR[127])


def test_a_calibrated_table_undoes_the_panel():
    curve = 2.2 * np.pi * (np.arange(256) / 255) ** 1.4
    table = phase_to_drive(LINEAR, SlmGeometry(*SHAPE, 8e-6, lut_rad=tuple(curve)))
    _, twin, slm = driver(lut=table, level_phases_rad=curve)
    wanted = np.linspace(0, 2 * np.pi, 192).reshape(SHAPE)
    slm.write(slm.levels_of(wanted))
    off = np.angle(np.exp(1j * (twin.phase_rad(9) - wanted)))
    # Half a step of the phases asked for, and half the largest step between levels.
    assert np.abs(off).max() <= np.pi / 256 + np.diff(curve).max() / 2 + 1e-9


@pytest.mark.parametrize("advance", [True, False])
def test_captures_begin_when_the_phase_stands(advance):
    constant_s, settle_s = 0.03, 0.2
    clock, twin, slm = driver(rise_s=constant_s, fall_s=constant_s, settle_s=settle_s)
    wanted = np.full(SHAPE, np.pi)
    assert slm.ready_s == -np.inf
    ready_s = slm.show(wanted, Deadline(10, "showing"), clock.frame if advance else None)
    assert ready_s == slm.ready_s == pytest.approx(5.2)
    assert clock.now_s >= ready_s
    left = np.abs(twin.phase_rad(clock.now_s) - np.pi).max()
    assert left <= np.pi * np.exp(-settle_s / constant_s) * 1.001
    # Before that it did not stand.
    assert np.abs(twin.phase_rad(5.0 + constant_s) - np.pi * (1 - np.exp(-1))).max() < 1e-9


def test_a_wait_ends_at_its_deadline():
    clock, _, slm = driver(settle_s=1e12)
    with pytest.raises(DeadlineExceeded, match="showing"):
        slm.show(np.zeros(SHAPE), Deadline(0.02, "showing"), clock.frame)
    stuck = Slm(slm.display, settle_s=1e12, sleep=lambda _s: None)
    with pytest.raises(DeadlineExceeded, match="showing"):
        stuck.show(np.zeros(SHAPE), Deadline(0.02, "showing"))
    slm.settle_s = 0.1
    assert slm.show(np.zeros(SHAPE), Deadline(10, "showing"), clock.frame) <= clock.now_s


def test_off_is_an_error_and_a_cause_and_mends_itself():
    clock, twin, slm = driver()
    with slm:
        slm.show(np.full(SHAPE, 1.0), Deadline(10, "showing"), clock.frame)
        assert slm_cause(slm) is None
        twin.off = True
        cause = slm_cause(slm)
        assert cause is not None
        assert (cause.kind, cause.latched) == ("slm_off", False)
        with pytest.raises(SlmOff, match="canopic doctor"):
            slm.show(np.full(SHAPE, 1.0), Deadline(10, "showing"))
        assert np.allclose(twin.phase_rad(99), 0)
        twin.off = False
        assert slm_cause(slm) is None
        assert np.allclose(twin.phase_rad(99), 0)  # it has forgotten the image
        slm.show(np.full(SHAPE, 1.0), Deadline(10, "showing"), clock.frame)
        assert np.allclose(twin.phase_rad(99), LINEAR[41])


def test_pulled_out_while_it_is_written():
    clock, twin, slm = driver()
    put = twin.put

    def pull(levels):
        put(levels)
        twin.off = True

    twin.put = pull
    with pytest.raises(SlmOff):
        slm.write(np.zeros(SHAPE, np.uint8))
    twin.put, twin.off = put, False
    assert slm.write(np.zeros(SHAPE, np.uint8)) == clock.now_s


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda s: s.levels_of(np.zeros((3, 3))), "the phase has"),
        (lambda s: s.levels_of(np.full(SHAPE, np.nan)), "finite"),
        (lambda s: s.write(np.zeros((3, 3), np.uint8)), "uint8"),
        (lambda s: s.write(np.zeros(SHAPE)), "uint8"),
        (lambda s: Slm(s.display, lut=np.zeros(3)), "256 grey levels"),
        (lambda s: Slm(s.display, lut=np.full(256, 256)), "256 grey levels"),
        (lambda s: Slm(s.display, correction_rad=np.zeros(3)), "correction"),
        (lambda s: Slm(s.display, settle_s=-1), "settle time"),
    ],
)
def test_refused(act, told):
    _, _, slm = driver()
    with pytest.raises(SlmUnsuitable, match=told):
        act(slm)


class TestTwin:
    def test_crosstalk_blurs_and_keeps_the_mean(self):
        clock, twin, slm = driver(crosstalk_px=1.2)
        levels = np.zeros(SHAPE, np.uint8)
        levels[:, 8:] = 200
        slm.write(levels)
        expected = gaussian_filter(LINEAR[levels], 1.2, mode="nearest", truncate=5)
        assert np.allclose(twin.phase_rad(clock.now_s + 1), expected)
        # Half-way at the border, as for a step behind any symmetric blur.
        middle = twin.phase_rad(clock.now_s + 1)[6, 7:9]
        assert middle.mean() == pytest.approx(LINEAR[200] / 2)

    def test_steps_are_exponential_with_a_constant_for_each_way(self):
        clock, twin, slm = driver(rise_s=0.01, fall_s=0.03, delay_s=0.02)
        t0 = slm.write(np.full(SHAPE, 128, np.uint8))
        for after_s in (0.0, 0.01, 0.02, 0.025, 0.05):
            expected = np.pi * (1 - np.exp(-max(0, after_s - 0.02) / 0.01))
            assert np.allclose(twin.phase_rad(t0 + after_s), expected)
        clock.sleep(1)
        t1 = slm.write(np.zeros(SHAPE, np.uint8))
        assert np.allclose(twin.phase_rad(t1 + 0.02 + 0.03), np.pi / np.e)
        # Broken off half-way: it goes on from where it was.
        clock.sleep(0.05)
        slm.write(np.full(SHAPE, 128, np.uint8))
        start = twin.phase_rad(clock.now_s + 0.02)
        assert np.allclose(twin.phase_rad(clock.now_s + 0.03), np.pi + (start - np.pi) / np.e)

    def test_flicker(self):
        _, twin, slm = driver(flicker=0.05, flicker_hz=40.0)
        slm.write(np.full(SHAPE, 128, np.uint8))
        seen = np.array([twin.phase_rad(t)[0, 0] for t in np.arange(6, 7, 1e-3)])
        assert seen.mean() == pytest.approx(np.pi, abs=1e-9)
        assert seen.std() == pytest.approx(np.pi * 0.05 / np.sqrt(2), rel=1e-6)

    @settings(max_examples=20)
    @given(st.floats(0.3, 1), st.integers(0, 255))
    def test_fill_factor_is_that_of_the_optics_model(self, fill, level):
        geometry = SlmGeometry(*SHAPE, 8e-6, fill_factor=fill, gap="passes")
        _, twin, slm = driver(fill_factor=fill)
        levels = np.full(SHAPE, level, np.uint8)
        slm.write(levels)
        assert np.allclose(twin.field(9), slm_modulation(levels, geometry))
        assert np.allclose(drive_to_phase(levels, geometry), twin.phase_rad(9))

    def test_light_across_the_director_is_switched_and_not_delayed(self):
        # At 45 degrees between parallel polarisers the amplitude is cos(phase / 2).
        _, twin, slm = driver(polarisation_rad=np.pi / 4)
        for level in (0, 64, 128):
            slm.write(np.full(SHAPE, level, np.uint8))
            assert np.allclose(np.abs(twin.field(9)), np.abs(np.cos(LINEAR[level] / 2)))

    def test_a_coarse_display_shows_fewer_levels(self):
        clock = Clock()
        twin = SlmTwin(panel(), clock, bits=5)
        slm = Slm(twin, settle_s=0)
        seen = set()
        for level in range(256):
            slm.write(np.full(SHAPE, level, np.uint8))
            phase = twin.phase_rad(9)[0, 0]
            seen.add(round(phase, 6))
            assert abs(phase - LINEAR[level]) < 2 * np.pi / 256 * 5.2
        assert len(seen) == 32
