"""Automatic exposure in simulated light: late and ignored controls, steps of light, walls that jump, black bars."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from host.exposure import ExposureConfig, ExposureController, ExposureState, next_exposure, split_exposure
from optics.encoding import quantize
from optics.exposure import SATURATED_SHARE_TARGET, steady_exposure

Cells = NDArray[np.float32]
LADDERS = {
    "16 levels": np.geomspace(0.01, 0.9, 15).astype(np.float32),
    "8 levels": np.sort(np.append(np.repeat(np.geomspace(0.012, 0.9, 7), 2), 0.9)).astype(np.float32),
    "uniform": (np.arange(1, 16) / 16).astype(np.float32),
    "4 levels": np.repeat(np.geomspace(0.05, 0.9, 3), 5).astype(np.float32),
}
LATENCY = 3


def natural_scene(seed: int = 0) -> Cells:
    """Radiance of cells, spread over two decades as photographs are (log-normal), float32 (60, 80, 3)."""
    rng = np.random.default_rng(seed)
    return np.clip(np.exp(rng.normal(-1.8, 0.9, (60, 80, 3))), 0.002, 1.0).astype(np.float32)


class Camera:
    """A scene whose controls land LATENCY frames late, or never."""

    def __init__(self, thresholds: Cells, scene: Cells, obeys: bool = True) -> None:
        self.thresholds, self.scene, self.obeys = thresholds, scene, obeys
        self.controller = ExposureController(thresholds)
        self.now: tuple[int, float] = (10_000, 1.0)
        self.coming: list[tuple[int, tuple[int, float]]] = []
        self.asked: list[int] = []
        self.products: list[float] = []
        self.frame = 0

    def run(self, frames: int, light: float = 1.0) -> list[float]:
        """Share of lit cells at code 15 in each frame."""
        shares = []
        for _ in range(frames):
            while self.coming and self.coming[0][0] <= self.frame:
                self.now = self.coming.pop(0)[1]
            product = self.now[0] * self.now[1] / 10_000
            codes = quantize((self.scene * np.float32(light * product)).astype(np.float32), self.thresholds)
            request = self.controller.update(codes, *self.now)
            if request:
                self.asked.append(self.frame)
                if self.obeys:
                    self.coming.append((self.frame + LATENCY, request))
            shares.append(float((codes == 15)[self.scene > 0].mean()))
            self.products.append(product)
            self.frame += 1
        return shares


@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS.keys())
@pytest.mark.parametrize("light", [1 / 30, 0.3, 3.0, 30.0])
def test_a_step_of_light_is_followed_without_swinging(ladder: Cells, light: float) -> None:
    camera = Camera(ladder, natural_scene())
    camera.run(40)
    shares = camera.run(60, light)
    # 30 times more or less light: the codes are of use again (few cells at 15) within ten frames, which is the latency
    # of two controls and the frames that show them; then the share settles for good.
    assert max(shares[10:]) < 0.3
    assert all(SATURATED_SHARE_TARGET / 4 <= share <= 3 * SATURATED_SHARE_TARGET for share in shares[40:])
    assert not [frame for frame in camera.asked if frame > 80]
    # The deadband, in terms of this scene's brightness distribution (spread 0.9 nats), is about a factor of 1.6.
    expected = steady_exposure(camera.scene * np.float32(light), ladder)
    assert expected / 1.6 < camera.products[-1] < expected * 1.6


def test_a_wall_that_jumps_over_the_target_as_one_piece_does_not_make_it_swing() -> None:
    scene = np.full((60, 80, 3), 0.2, dtype=np.float32)
    scene[:, 30:] = 0.5
    camera = Camera(LADDERS["8 levels"], scene)
    camera.run(60)
    before = len(camera.asked)
    camera.run(200)
    assert len(camera.asked) == before
    assert camera.products[-1] * 0.5 == pytest.approx(0.9, rel=0.15)


def test_somebody_walking_by_hardly_changes_it() -> None:
    camera = Camera(LADDERS["8 levels"], natural_scene())
    camera.run(40)
    settled = camera.products[-1]
    empty = camera.scene.copy()
    for step in range(60):
        camera.scene = empty.copy()
        camera.scene[15:, step : step + 12] = 0.03
        camera.run(1)
    assert min(camera.products[40:]) > 0.75 * settled
    assert max(camera.products[40:]) < 1.35 * settled


def test_black_bars_do_not_count() -> None:
    scene = natural_scene()
    barred = scene.copy()
    barred[:20] = barred[-20:] = 0
    whole, cut = Camera(LADDERS["16 levels"], scene), Camera(LADDERS["16 levels"], barred)
    whole.run(60)
    shares = cut.run(60)
    assert SATURATED_SHARE_TARGET / 4 <= shares[-1] <= 3 * SATURATED_SHARE_TARGET
    assert cut.products[-1] == pytest.approx(whole.products[-1], rel=0.35)


def test_a_camera_that_ignores_controls_is_asked_ever_more_rarely() -> None:
    camera = Camera(LADDERS["16 levels"], natural_scene(), obeys=False)
    camera.run(400, light=10)
    assert 4 <= len(camera.asked) <= 8
    assert camera.controller.ignored >= 3
    assert (np.diff(np.diff(camera.asked)) > 0).all()
    camera.obeys = True
    camera.run(700, light=10)
    assert camera.controller.ignored == 0
    assert camera.products[-1] < 0.3


def test_nothing_is_asked_while_a_control_is_on_its_way() -> None:
    camera = Camera(LADDERS["16 levels"], natural_scene())
    camera.run(80, light=8)
    assert (np.diff(camera.asked) >= LATENCY).all()


def test_darkness_goes_to_the_limit_and_stays_there() -> None:
    camera = Camera(LADDERS["16 levels"], natural_scene())
    camera.run(60, light=0.0)
    assert camera.now == (33_000, 16.0) or camera.now == (30_000, 16.0)
    before = len(camera.asked)
    camera.run(60, light=0.0)
    assert len(camera.asked) == before


@given(product=st.floats(1e-4, 200), mains=st.sampled_from([0, 50, 60]))
def test_exposure_and_gain_keep_their_limits_and_reach_the_product(product: float, mains: int) -> None:
    config = ExposureConfig(mains_hz=mains)
    exposure_us, gain = split_exposure(product, config)
    assert 100 <= exposure_us <= 33_000
    assert 1.0 <= gain <= 16.0
    if 0.0101 < product < 52.7:
        assert exposure_us * gain / 10_000 == pytest.approx(product, rel=0.01)
    if mains and exposure_us > 1e6 / (2 * mains) and gain < 16:
        periods = exposure_us / (500_000 / mains)
        assert periods == pytest.approx(round(periods), abs=1e-3)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**31), frames=st.integers(1, 30))
def test_any_codes_keep_the_limits_and_the_same_codes_give_the_same_requests(seed: int, frames: int) -> None:
    config = ExposureConfig()

    def requests() -> list[tuple[int, float] | None]:
        rng = np.random.default_rng(seed)
        state, now, seen = ExposureState(), (10_000, 1.0), []
        for _ in range(frames):
            codes = rng.integers(0, 16, (6, 8, 3), dtype=np.uint8) // rng.integers(1, 16)
            state, request = next_exposure(state, codes.astype(np.uint8), *now, LADDERS["8 levels"], config)
            seen.append(request)
            if request and rng.random() < 0.7:
                now = request
        return seen

    first = requests()
    assert first == requests()
    for request in filter(None, first):
        assert 100 <= request[0] <= 33_000
        assert 1 <= request[1] <= 16


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"exposure_us": (0, 100)}, "exposure_us"),
        ({"gain": (4.0, 1.0)}, "gain"),
        ({"mains_hz": 40}, "mains_hz"),
        ({"target_share": 0.0}, "target_share"),
        ({"patience": 0}, "patience"),
    ],
)
def test_wrong_settings_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExposureConfig(**values)  # type: ignore[arg-type]


def test_wrong_thresholds_are_refused() -> None:
    with pytest.raises(ValueError, match="15"):
        ExposureController(np.zeros(3, dtype=np.float32))
