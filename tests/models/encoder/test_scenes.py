"""Faces in whole scenes while learning: windows are what scenes hold, and the encoder follows the detector's loss."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.detector.archives import Photograph
from models.detector.augment import Material
from models.detector.scenes import PLANE_COLUMNS_PX, PLANE_ROWS_PX, Scene
from models.encoder.plan import EncoderPlan, PlanError, checked_plan
from models.encoder.scene_windows import (
    SceneSource,
    SceneWindows,
    cut_windows,
    margin_px,
    scenes_apart,
    windows_in_parts,
)
from tests.models.encoder.records import record

torch = pytest.importorskip("torch", reason="learning needs torch: pip install 'canopic[train]'")

from models.encoder.alternate import Progress, learn  # noqa: E402
from models.encoder.judge import score  # noqa: E402
from models.encoder.looks import light_of  # noqa: E402
from models.encoder.material import LearningMaterial  # noqa: E402
from models.encoder.scene_detection import (  # noqa: E402
    SceneTraining,
    inner,
    new_detector,
    precision_in_windows,
    scene_camera,
    scene_lesson,
    scene_loss,
)
from models.encoder.start import starting_chain  # noqa: E402

SMALL = {"networks": [{"network": "small", "width": 0.05}], "epochs": 1, "batch": 8}
WINDOW_PX = [64, 96]
SIGMA_PX = 2.0


def plan(**scenes: Any) -> EncoderPlan:
    """A plan with scenes that takes a second."""
    return checked_plan(
        {
            "chain": {"levels": 8, "symmetric": True, "start": {"sigma_px": [SIGMA_PX], "side_px": 15}},
            "privacy": {"alpha": 1.0},
            "schedule": {"cycles": 1, "encoder_steps": 3, "batch": 8, "looks": 2},
            "recognition": SMALL,
            "detection": SMALL,
            "choice": {"network": {"width": 0.05}, "identity_epochs": 1, "face_epochs": 1, "every": 1},
            "scenes": {
                "window_px": WINDOW_PX, "batch": 2, "widths": [4, 6, 8], "detector_batch": 4,
                "windows": 12, "new_windows": 20, "apart": 6, "new_steps": 7, "steps": 4, **scenes,
            },
        },
        "test",
    )  # fmt: skip


def discs(count: int, seed: int = 0) -> list[Scene]:
    """Scenes with two bright discs, which stand for faces, and a bright square, which stands for none."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:PLANE_ROWS_PX, :PLANE_COLUMNS_PX].astype(np.float32)
    scenes = []
    for _ in range(count):
        radiance = np.full((PLANE_ROWS_PX, PLANE_COLUMNS_PX), 0.15, np.float32)
        boxes = []
        for place in range(3):
            across = float(rng.uniform(24, 40))
            left = float(rng.uniform(0, 160) + 200 * place)
            top = float(rng.uniform(0, PLANE_ROWS_PX - across))
            inside = (np.abs(x - left - across / 2) < across / 2) & (np.abs(y - top - across / 2) < across / 2)
            if place < 2:
                inside = np.hypot(x - left - across / 2, y - top - across / 2) < across / 2
                boxes.append([left, top, across, across])
            radiance[inside] = 0.8
        scenes.append(Scene(np.repeat(radiance[:, :, None], 3, axis=2), np.array(boxes, np.float32), np.zeros(2, bool)))
    return scenes


def windows(count: int = 12, seed: int = 0, side_px: int = 15) -> SceneWindows:
    return cut_windows(iter(discs(count, seed)), WINDOW_PX, margin_px(side_px, 8), np.random.default_rng(seed))


def crops(count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 255, (count, 64, 64, 3), np.uint8)


def source(seed: int = 0) -> SceneSource:
    """Photographs of discs, half as large as the plane, and crops with and without one."""
    rng = np.random.default_rng(seed)
    found = []
    for number, scene in enumerate(discs(6, seed)):
        image = (scene.radiance[::2, ::2] * 255).astype(np.uint8)
        found.append(Photograph(f"{number}.jpg", image, scene.boxes / 2, scene.ignore))
    return SceneSource(Material(found[:4], crops(4, rng), crops(4, rng)), found[4:])


def material(seed: int = 0) -> LearningMaterial:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(3), 4)
    return LearningMaterial(
        crops(12, rng), people, crops(6, rng), people[::2], crops(8, rng), crops(8, rng), crops(4, rng), crops(4, rng),
        scenes=source(seed),
    )  # fmt: skip


def test_windows_hold_the_faces_where_their_boxes_say() -> None:
    found = windows(30)
    assert found.images.shape == (30, 64 + 2 * found.margin_px, 96 + 2 * found.margin_px, 3)
    seen = 0
    for index in range(len(found)):
        boxes, ignore = found.boxes[index], found.ignore[index]
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= np.array(WINDOW_PX[::-1]) + 1e-3).all()
        for x, y, width, height in boxes[~ignore]:
            if abs(width - height) < 0.01:  # whole within the window
                row, column = (int(found.margin_px + start + size / 2) for start, size in ((y, height), (x, width)))
                assert found.images[index, row, column, 0] > 200
                assert found.images[index, row - int(height / 2) - 2, column, 0] < 200
                seen += 1
    assert seen > 10


@given(kernel=st.integers(1, 255), pool=st.integers(4, 32))
def test_the_margin_covers_half_a_kernel_in_whole_cells(kernel: int, pool: int) -> None:
    margin = margin_px(kernel, pool)
    assert margin % pool == 0
    assert kernel // 2 <= margin < kernel // 2 + pool


@settings(max_examples=10, deadline=None)
@given(top=st.integers(0, 50), left=st.integers(0, 60), sigma=st.floats(1.0, 4.0))
def test_cells_of_a_window_are_those_of_the_whole_scene(top: int, left: int, sigma: float) -> None:
    """Metered each on itself, they differ by one factor, if neither sees the other's edge."""
    chain = starting_chain(
        checked_plan({"chain": {"start": {"sigma_px": [sigma], "side_px": 15}}}, "test").chain,
        np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), np.uint8),
        0,
    )
    scene = np.random.default_rng(top).integers(0, 255, (1, 480, 640, 3), np.uint8)
    margin = margin_px(15, 8)
    window = scene[:, 8 * top : 8 * top + 64 + 2 * margin, 8 * left : 8 * left + 96 + 2 * margin]
    with torch.no_grad():
        whole = chain.cells(light_of(scene, "linear"))
        part = inner(chain.cells(light_of(window, "linear")), margin // 8)
    rows, columns = part.shape[2:]
    first = (top + margin // 8, left + margin // 8)
    same = whole[:, :, first[0] : first[0] + rows, first[1] : first[1] + columns]
    if same.shape == part.shape:
        ratio = (part / same).numpy()
        assert ratio.std() < 1e-4 * ratio.mean()


def test_parts_take_all_photographs_in_turn_and_are_told_of() -> None:
    grey = [
        replace(one, image=np.full((90, 120, 3), 60 * number + 60, np.uint8))
        for number, one in enumerate(source().apart)
    ]
    told: list[tuple[int, int]] = []
    scenes = scenes_apart(SceneSource(source().training, grey))
    rng = np.random.default_rng(0)
    parts = list(windows_in_parts(scenes, 19, [64, 96], 8, rng, lambda *one: told.append(one)))
    assert [len(part) for part in parts] == [16, 3]
    assert told == [(0, 19), (16, 19)]
    images = np.concatenate([part.images for part in parts])
    assert [int(one.mean().round()) for one in images] == [60 + 60 * (number % 2) for number in range(19)]


def test_a_detector_learns_to_find_what_it_is_shown() -> None:
    chosen = plan(new_steps=200, detector_batch=8, widths=[8, 12, 16], learning_rate=5e-3)
    assert chosen.scenes is not None
    seen, apart = windows(60), windows(30, seed=9)
    chain = starting_chain(chosen.chain, crops(4, np.random.default_rng(0)), 0)
    network = new_detector(chosen.scenes, 3, [0])
    lesson, test = scene_lesson(chain, [seen]), scene_lesson(chain, [apart])
    before = precision_in_windows(network, test, np.random.default_rng(0))
    training = SceneTraining(network, lesson, chosen.scenes, scene_camera(chosen), [0])
    while not training.done:
        training.advance()
    after = precision_in_windows(network, test, np.random.default_rng(0))
    assert before["ap"] < 0.2
    assert after["ap"] > 0.5
    assert after["ap_95"][0] <= after["ap"] <= after["ap_95"][1]
    assert (after["windows"], after["faces"]) == (30, before["faces"])


def test_without_a_face_there_is_no_precision() -> None:
    empty = windows(3)
    empty = replace(empty, boxes=[one[:0] for one in empty.boxes], ignore=[one[:0] for one in empty.ignore])
    chosen = plan()
    assert chosen.scenes is not None
    lesson = scene_lesson(starting_chain(chosen.chain, crops(4, np.random.default_rng(0)), 0), [empty])
    network = new_detector(chosen.scenes, 3, [0])
    assert precision_in_windows(network, lesson, np.random.default_rng(0))["ap"] is None


def test_the_loss_reaches_every_parameter_of_the_encoder_and_none_of_the_detector() -> None:
    chosen, seen = plan(), windows()
    assert chosen.scenes is not None
    chain = starting_chain(chosen.chain, crops(4, np.random.default_rng(0)), 0)
    network = new_detector(chosen.scenes, 3, [0])
    loss = scene_loss(chain, network, seen, 5.0, scene_camera(chosen), np.random.default_rng(0), True)
    loss.backward()
    for name, parameter in chain.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


def test_an_encoder_descends_on_what_the_detector_misses() -> None:
    """A detector that learned through a sharp mask is fixed; a blurred mask in front of it becomes sharper."""
    sharp = plan(new_steps=150, detector_batch=8, widths=[8, 12, 16], learning_rate=5e-3, exposures=None)
    seen = windows(40, side_px=31)
    assert sharp.scenes is not None
    network = new_detector(sharp.scenes, 3, [0])
    lesson = scene_lesson(starting_chain(sharp.chain, crops(4, np.random.default_rng(0)), 0), [seen])
    training = SceneTraining(network, lesson, sharp.scenes, None, [0])
    while not training.done:
        training.advance()
    wide = sharp.chain.model_copy(
        update={"start": sharp.chain.start.model_copy(update={"sigma_px": [20.0], "side_px": 31})}
    )
    chain = starting_chain(wide, crops(4, np.random.default_rng(0)), 0)
    optimizer = torch.optim.Adam(chain.kernels.parameters(), 0.05)
    batch = windows(8, seed=3, side_px=31)
    losses = []
    for _ in range(30):
        loss = scene_loss(chain, network, batch, 5.0, None, np.random.default_rng(0), True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_resumed_equals_uninterrupted_with_scenes(tmp_path: Path) -> None:
    images = material()
    whole = learn(plan(), images, tmp_path / "whole")
    phases: list[str] = []
    for _ in range(40):
        done: list[Progress] = []
        found = learn(plan(), images, tmp_path / "parts", done.append, stop_after=3)
        phases += [one.phase for one in done]
        # What is known is written with the first judgement, which the detector's learning precedes.
        if (tmp_path / "parts" / "learning.json").exists() and record(tmp_path / "parts")["finished"]:
            break
    assert found.id == whole.id
    assert record(tmp_path / "parts") == record(tmp_path / "whole")
    assert list(dict.fromkeys(phases)) == [
        "scenes, measuring",
        "scenes",
        "judge",
        "recognition 0",
        "detection 0",
        "encoder",
    ]
    assert phases.count("scenes") == 7 + 4


def test_every_cycle_says_how_well_faces_are_found(tmp_path: Path) -> None:
    seen: dict[str, float] = {}
    learn(plan(), material(), tmp_path, lambda one: seen.update(one.numbers))
    found = record(tmp_path)
    assert len(found["cycles"]) == 2
    for entry in found["cycles"]:
        assert 0 <= entry["scenes"]["ap"] <= 1
        assert (entry["scenes"]["windows"], entry["scenes"]["faces"]) == (6, found["cycles"][0]["scenes"]["faces"])
    assert found["cycles"][0]["encoder"]["scenes"] > 0
    assert seen["scenes_ap"] == found["cycles"][1]["scenes"]["ap"]
    assert (found["material"]["counts"]["photographs"], found["material"]["counts"]["held_out_photographs"]) == (4, 2)


def test_other_scenes_are_other_images(tmp_path: Path) -> None:
    learn(plan(), material(), tmp_path, stop_after=2)
    with pytest.raises(PlanError, match="other images"):
        learn(plan(), material(seed=5), tmp_path)


def test_images_without_scenes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="asks for scenes"):
        learn(plan(), replace(material(), scenes=None), tmp_path)


def test_a_choice_can_go_by_scenes() -> None:
    choice = checked_plan({"choice": {"faces": "scenes"}, "scenes": {}}, "test").choice
    found = {"identity": {"accuracy": 0.25}, "face": {"accuracy": 0.9}, "scenes": {"ap": 0.5}}
    assert score(found, choice) == pytest.approx(0.25)
    assert score(found | {"scenes": {"ap": None}}, choice) == pytest.approx(-0.25)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"choice": {"faces": "scenes"}}, "expects a section 'scenes'"),
        ({"scenes": {}, "chain": {"pool": 10}}, "windows of whole cells"),
        ({"scenes": {"window_px": [64, 64]}, "chain": {"pool": 2}}, r"pool is 2: 'scenes' expects 4\.\.32 px"),
        ({"scenes": {}, "chain": {"range": "per_frame"}}, "range: fixed"),
        ({"scenes": {}, "chain": {"levels": None}}, "expects levels"),
        ({"scenes": {"exposures": [2.0, 1.0]}}, r"expected to be \[low, high\]"),
        ({"scenes": {"window_px": [64]}}, "window_px"),
    ],
)
def test_plans_that_cannot_be_followed_say_why(values: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        checked_plan(values, "test")
