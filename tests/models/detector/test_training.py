"""Training on tiny made-up scenes: it learns, goes on where it stopped, and exports what it learned."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.detector.batches import (
    Batch,
    exposed_codes,
    mirror_symmetric,
    network_input,
    noisy_codes,
    random_batch,
    window_cells,
)
from models.detector.cache import SHARD, Samples, build, cache_folder, measured
from models.detector.gaussian_encoding import gaussian_kernel
from models.detector.scenes import Scene, linear_to_srgb
from models.detector.targets import make_targets
from optics.encoding import Encoding, encode, quantize

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'canopic[train]'")
pytest.importorskip("onnx", reason="export needs onnx: pip install 'canopic[train]'")

WINDOW = (24, 24)


def encoding(thresholds: NDArray[np.float32] | None = None) -> Encoding:
    chosen = np.linspace(0.05, 0.9, 15, dtype=np.float32) if thresholds is None else thresholds
    return Encoding(gaussian_kernel(2.0, 15), chosen)


def made_up_scenes(count: int) -> list[Scene]:
    """Grey noise with bright "faces": a disc with a dark middle each."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[0:480, 0:640].astype(np.float32)
    scenes = []
    for _ in range(count):
        radiance = np.repeat(rng.uniform(0, 0.25, (480, 640, 1)).astype(np.float32), 3, axis=2)
        boxes = []
        for _ in range(3):
            side = float(rng.uniform(40, 80))
            left, top = float(rng.uniform(0, 640 - side)), float(rng.uniform(0, 480 - side))
            distance = np.hypot(x - left - side / 2, y - top - side / 2)
            radiance[distance < side / 2] = (0.9, 0.6, 0.5)
            radiance[distance < side / 6] = 0.0
            boxes.append([left, top, side, side])
        scenes.append(Scene(radiance, np.array(boxes, np.float32), np.zeros(3, np.bool_)))
    return scenes


@pytest.fixture(scope="module")
def samples() -> Samples:
    return measured(made_up_scenes(6), encoding())


def batch_of(samples: Samples, rng: np.random.Generator) -> Batch:
    return random_batch(samples, encoding(), rng, 4, WINDOW)


def small_settings(steps: int) -> "object":
    from models.detector.training import Settings

    return Settings(steps=steps, batch=4, warmup=5, widths=(8, 12, 16))


def test_measured_cells_give_the_codes_that_the_encoding_gives(samples: Samples) -> None:
    scene = made_up_scenes(6)[2]
    exact = encode(scene.radiance, encoding())
    kept = quantize(samples.cells[2].astype(np.float32), encoding().thresholds)
    assert (kept != exact).mean() < 0.01
    assert samples.boxes_of(2)[0].shape == (3, 4)
    np.testing.assert_array_equal(samples.boxes_of(2)[0], scene.boxes)


def test_noise_of_the_parts_changes_few_codes(samples: Samples) -> None:
    cells = samples.cells[0].astype(np.float32)
    noisy = noisy_codes(cells, encoding(), np.random.default_rng(0), 1.0)
    difference = noisy.astype(int) - quantize(cells, encoding().thresholds)
    assert np.abs(difference).max() <= 2
    assert (difference != 0).mean() < 0.5


def test_network_input_is_scaled_codes() -> None:
    codes = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3) % 16
    scaled = network_input(codes)
    assert scaled.shape == (2, 3, 3, 4)
    assert scaled[1, 2, 0, 3] == pytest.approx(codes[1, 0, 3, 2] / 15)


def test_only_symmetric_kernels_allow_mirroring() -> None:
    lopsided = np.zeros((1, 5, 5), np.float32)
    lopsided[0, 2, 4] = 1
    assert mirror_symmetric(encoding())
    assert not mirror_symmetric(Encoding(lopsided, encoding().thresholds))


def test_loss_falls_and_an_interrupted_run_ends_with_the_same_weights(samples: Samples, tmp_path: Path) -> None:
    from models.detector.training import load_network, train

    losses: list[float] = []
    whole = train(
        lambda rng: batch_of(samples, rng),
        small_settings(60),  # type: ignore[arg-type]
        tmp_path / "whole.pt",
        every=15,
        report=lambda _, loss: losses.append(loss),
    )
    assert losses[-1] < 0.6 * losses[0]
    parts = tmp_path / "parts.pt"
    for stop in (20, 45, None):
        pieced = train(lambda rng: batch_of(samples, rng), small_settings(60), parts, every=15, stop_after=stop)  # type: ignore[arg-type]
    kept = load_network(parts)
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(pieced.state_dict()[name], weight, rtol=0, atol=0)
        torch.testing.assert_close(kept.state_dict()[name], weight, rtol=0, atol=0)


def test_a_checkpoint_of_other_settings_is_refused(samples: Samples, tmp_path: Path) -> None:
    from models.detector.training import train

    train(lambda rng: batch_of(samples, rng), small_settings(2), tmp_path / "checkpoint.pt")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="other settings"):
        train(lambda rng: batch_of(samples, rng), small_settings(3), tmp_path / "checkpoint.pt")  # type: ignore[arg-type]


def test_exported_models_answer_like_torch(samples: Samples, tmp_path: Path) -> None:
    from models.detector.evaluate import inputs_of
    from models.detector.export import answers, export_float, network_answers, quantized
    from models.detector.training import train

    network = train(lambda rng: batch_of(samples, rng), small_settings(40), tmp_path / "checkpoint.pt")  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    codes = inputs_of(samples, encoding(), rng)
    random_codes = rng.integers(0, 16, (3, 60, 80, 3)).astype(np.uint8)
    model = export_float(network, (60, 80, 3))
    small = quantized(model, codes)
    for inputs in (codes, random_codes):
        heat, box = network_answers(network, inputs)
        float_heat, float_box = answers(model, inputs)
        np.testing.assert_allclose(float_heat, heat, atol=1e-5)
        np.testing.assert_allclose(float_box, box, atol=1e-4)
    heat, _ = network_answers(network, codes)
    int8_heat, _ = answers(small, codes)
    assert np.abs(int8_heat - heat).mean() < 0.02
    assert len(small) < len(model)


def four_filters(pool: int, thresholds: NDArray[np.float32] | None = None) -> Encoding:
    kernels = np.zeros((4, 11, 11), np.float32)
    for index, part in enumerate((np.s_[:5], np.s_[:, :5], np.s_[6:], np.s_[:, 6:])):
        kernels[index][part] = 1 / 55
    return Encoding(kernels, encoding(thresholds).thresholds, pool)


@pytest.mark.parametrize("pool", [4, 16, 32])
def test_any_pool_trains_and_its_boxes_are_found_where_they_are(pool: int) -> None:
    """Windows and whole planes of 15 rows are no multiple of 4; boxes come back in plane pixels, not cells."""
    from models.detector.decode import decode
    from models.detector.evaluate import inputs_of
    from models.detector.export import answers, export_float, network_answers, quantized
    from models.detector.network import FaceNetwork

    chosen = four_filters(pool)
    seen = measured(made_up_scenes(1), chosen)
    rows, columns = 480 // pool, 640 // pool
    assert seen.cells.shape == (1, rows, columns, 12)
    batch = random_batch(seen, chosen, np.random.default_rng(0), 3)
    window = window_cells(pool)
    assert batch["codes"].shape == (3, 12, *window)
    assert window[0] % 4 == window[1] % 4 == 0
    assert abs(window[0] * pool - 320) <= 128
    assert abs(window[1] * pool - 384) <= 128
    boxes, ignore = seen.boxes_of(0)
    target = make_targets(boxes, ignore, rows, columns, pool)
    found = decode((target["heat"][0] >= 0.999).astype(np.float32), target["box"], 0.5, pool)
    assert len(found) == len(boxes)
    np.testing.assert_allclose(np.sort(found.boxes, axis=0), np.sort(boxes, axis=0), atol=0.01)
    network = FaceNetwork(12, (8, 8, 8)).eval()
    codes = inputs_of(seen, chosen, np.random.default_rng(0))
    heat, box = network_answers(network, codes)
    assert heat.shape == (1, rows, columns)
    if pool != 32:
        return
    # The one whose rows are padded inside the network.
    model = export_float(network, (rows, columns, 12))
    again, box_again = answers(model, codes)
    np.testing.assert_allclose(again, heat, atol=1e-5)
    np.testing.assert_allclose(box_again, box, atol=1e-4)
    int8_heat, _ = answers(quantized(model, codes), codes)
    assert np.abs(int8_heat - heat).mean() < 0.02


@pytest.mark.parametrize("pool", [3, 33])
def test_a_pool_that_no_detector_is_made_for_is_refused(pool: int) -> None:
    with pytest.raises(ValueError, match=r"4\.\.32"):
        measured([], four_filters(pool))


def test_published_encodings_are_measured_as_published() -> None:
    """Range per_frame on sRGB values: no noise, no exposure, and the brightest cell of each frame is 1."""
    paper = replace(four_filters(8), range="per_frame")
    scene = made_up_scenes(1)[0]
    seen = measured([scene], paper, "srgb")
    assert seen.cells[0].min() == 0
    assert seen.cells[0].max() == 1
    codes = exposed_codes(seen.cells[0], 3.0, paper, np.random.default_rng(0))
    picture = linear_to_srgb(scene.radiance).astype(np.float32) / np.float32(255)
    assert (codes != encode(picture, paper)).mean() < 0.01
    assert cache_folder(Path("a"), paper, {}, 0, "srgb") != cache_folder(Path("a"), paper, {}, 0)
    assert cache_folder(Path("a"), paper, {}, 0) != cache_folder(Path("a"), four_filters(8), {}, 0)


def test_the_keys_of_caches_stay(tmp_path: Path) -> None:
    """A cache of the first default encoding's cells that was made before other pools were possible is found again."""
    first = Encoding(gaussian_kernel(4.0), np.linspace(0.06, 0.9, 15, dtype=np.float32))
    assert cache_folder(tmp_path, first, {"scenes": "abc"}, 0).name == "97dbc0472c64cb7e"


def test_fine_tuning_begins_where_another_training_ended(samples: Samples, tmp_path: Path) -> None:
    from models.detector.training import load_network, started, train

    def nothing(rng: np.random.Generator) -> Batch:
        return batch_of(samples, rng)

    train(nothing, small_settings(3), tmp_path / "first.pt")  # type: ignore[arg-type]
    first = load_network(tmp_path / "first.pt")
    wider = started(tmp_path / "first.pt", 12, (8, 12, 16))
    narrow, wide = first.state_dict()["at_full.0.0.weight"], wider["at_full.0.0.weight"]
    assert wide.shape == (8, 12, 3, 3)
    codes = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(
        torch.nn.functional.conv2d(codes.repeat(1, 4, 1, 1), wide), torch.nn.functional.conv2d(codes, narrow)
    )
    with pytest.raises(ValueError, match="widths"):
        started(tmp_path / "first.pt", 3, (24, 48, 72))
    with pytest.raises(ValueError, match="cannot become 5"):
        started(tmp_path / "first.pt", 5, (8, 12, 16))
    tuned = train(
        nothing,
        small_settings(20),  # type: ignore[arg-type]
        tmp_path / "tuned.pt",
        stop_after=1,
        start=tmp_path / "first.pt",
    )
    deep = "at_quarter.0.0.weight"
    torch.testing.assert_close(tuned.state_dict()[deep], first.state_dict()[deep], atol=0.01, rtol=0)
    with pytest.raises(ValueError, match="other weights"):
        train(nothing, small_settings(20), tmp_path / "tuned.pt")  # type: ignore[arg-type]


def test_the_cache_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.detector import cache
    from models.detector.augment import Material

    source = Material([], np.zeros((0, 64, 64, 3), np.uint8), np.zeros((0, 64, 64, 3), np.uint8))
    made: list[int] = []

    def random_scene(_: Material, rng: np.random.Generator) -> Scene:
        made.append(1)
        box = rng.uniform(50, 100, (1, 4)).astype(np.float32)
        return Scene(np.full((480, 640, 3), rng.uniform(), np.float32), box, np.zeros(1, np.bool_))

    monkeypatch.setattr(cache, "random_scene", random_scene)
    monkeypatch.setattr(cache, "SHARD", 3)
    folder = cache_folder(tmp_path, encoding(), {"scenes": "abc"}, 0)
    assert folder != cache_folder(tmp_path, encoding(), {"scenes": "abd"}, 0)
    first = build(folder, source, encoding(), 3, 0, lambda _: None)
    again = build(folder, source, encoding(), 6, 0, lambda _: None, threads=2)
    assert len(made) == 6
    assert (len(first), len(again)) == (3, 6)
    np.testing.assert_array_equal(again.cells[:3], first.cells)
    np.testing.assert_array_equal(again.boxes[:3], first.boxes)
    assert again.first.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert SHARD == 250
