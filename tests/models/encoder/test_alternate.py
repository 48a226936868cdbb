"""Alternating optimisation: resumes to the same result, keeps its promises at every step, and follows its weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.encoder.material import LearningMaterial
from models.encoder.plan import EncoderPlan, PlanError, checked_plan
from tests.models.encoder.records import record

torch = pytest.importorskip("torch", reason="learning needs torch: pip install 'canopic[train]'")

from models.encoder.adversaries import Lesson, new_network  # noqa: E402
from models.encoder.alternate import LearningError, Progress, learn, learn_chain  # noqa: E402
from models.encoder.looks import encoded_looks  # noqa: E402
from models.encoder.nuisance import CameraNuisance  # noqa: E402
from models.encoder.objective import PARTS, encoder_loss  # noqa: E402
from models.encoder.start import starting_chain  # noqa: E402
from models.encoding_file import read_encoding  # noqa: E402
from optics.encoding import Encoding  # noqa: E402

# Of the stripes by which made-up people differ, radians per pixel.
FREQUENCY = 1.0

SMALL = {"networks": [{"network": "small", "width": 0.05}], "epochs": 2, "batch": 8}
TINY: dict[str, Any] = {
    "chain": {"levels": 4, "start": {"sigma_px": [2.0], "side_px": 7}},
    "privacy": {"alpha": 2.0},
    "schedule": {"cycles": 2, "encoder_steps": 4, "batch": 8, "looks": 2},
    "recognition": SMALL,
    "detection": SMALL,
    "choice": {"network": {"width": 0.05}, "identity_epochs": 1, "face_epochs": 1, "every": 1},
}


def tiny(**changes: dict[str, Any]) -> EncoderPlan:
    """A plan that takes a second, with sections changed."""
    return checked_plan({**TINY, **{key: {**TINY.get(key, {}), **value} for key, value in changes.items()}}, "test")


def material(seed: int = 0, people: int = 3, each: int = 6) -> LearningMaterial:
    """Made-up faces: a bright disc with fine stripes in each person's own quarter; without the disc, no face."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64] - 31.5
    quarter = (y > 0) * 2 + (x > 0)

    def crops(persons: NDArray[Any], disc: bool) -> NDArray[np.uint8]:
        images = []
        for person in persons:
            stripes = 50 * np.sin(FREQUENCY * x + rng.uniform(0, 2 * np.pi)) * (quarter == person)
            light = 90 + (80.0 * (np.hypot(x, y) < 20) if disc else 0) + rng.normal(0, 6, (64, 64))
            images.append(np.repeat((light + stripes)[:, :, None], 3, axis=2))
        return np.clip(np.stack(images), 0, 255).astype(np.uint8)

    labels = np.repeat(np.arange(people), each)
    tests = np.repeat(np.arange(people), 2)
    strangers = rng.integers(0, people, 12)
    return LearningMaterial(
        crops(labels, True), labels, crops(tests, True), tests,
        crops(strangers, True), crops(strangers, False), crops(strangers[:6], True), crops(strangers[:6], False),
    )  # fmt: skip


class KilledError(Exception):
    """Ends a learning where a power cut would: nothing is saved."""


def test_resumed_equals_uninterrupted_wherever_it_was_stopped(tmp_path: Path) -> None:
    plan, images = tiny(schedule={"cycles": 1}), material()
    whole = learn(plan, images, tmp_path / "whole")
    steps = 0
    calls = 0
    finished = False
    while not finished:
        done: list[Progress] = []
        found = learn(plan, images, tmp_path / "parts", done.append, stop_after=3)
        steps += sum(one.phase != "judge" for one in done)
        finished = json.loads((tmp_path / "parts" / "learning.json").read_text())["finished"]
        calls += 1
    assert calls > 3
    assert steps == 4 + (2 + 3) * 2
    assert found.id == whole.id
    assert record(tmp_path / "parts") == record(tmp_path / "whole")


def test_killed_in_the_middle_of_a_cycle_it_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where power goes, nothing is saved: what was done since the last checkpoint is done again, to the same end."""
    monkeypatch.setattr("models.encoder.alternate.CHECKPOINT_EVERY", 3)
    plan, images = tiny(schedule={"cycles": 1, "encoder_steps": 7}), material()
    whole = learn(plan, images, tmp_path / "whole")
    for phase, step in (("recognition 0", 2), ("detection 0", 5), ("encoder", 5), ("judge", 1)):

        def kill(progress: Progress, phase: str = phase, step: int = step) -> None:
            if progress.phase == phase and progress.step >= step:
                raise KilledError

        with pytest.raises(KilledError):
            learn(plan, images, tmp_path / "parts", kill)
    assert learn(plan, images, tmp_path / "parts").id == whole.id
    assert record(tmp_path / "parts") == record(tmp_path / "whole")


def test_a_seed_decides_and_another_gives_another(tmp_path: Path) -> None:
    images = material()
    found = [learn(tiny(schedule={"cycles": 1}), images, tmp_path / name).id for name in ("one", "two")]
    other = learn(checked_plan({**TINY, "seed": 1}, "x"), images, tmp_path / "three")
    assert found[0] == found[1] != other.id


def test_what_was_begun_otherwise_is_not_gone_on_with(tmp_path: Path) -> None:
    images = material()
    learn(tiny(), images, tmp_path, stop_after=2)
    with pytest.raises(PlanError, match=r"differing: privacy\.alpha"):
        learn(tiny(privacy={"alpha": 3.0}), images, tmp_path)
    with pytest.raises(PlanError, match="other images"):
        learn(tiny(), material(seed=1), tmp_path)


def test_everything_is_on_record(tmp_path: Path) -> None:
    encoding = learn(tiny(), material(), tmp_path)
    found = json.loads((tmp_path / "learning.json").read_text())
    assert [entry["cycle"] for entry in found["cycles"]] == [0, 1, 2]
    assert found["finished"]
    assert found["plan"]["privacy"]["alpha"] == 2.0
    assert found["encoding_id"] == read_encoding(tmp_path / "encoding.npz").id == encoding.id
    entry = found["cycles"][found["kept_cycle"]]
    for question, chance, n in (("identity", 1 / 3, 6), ("face", 0.5, 12)):
        assert (entry[question]["chance"], entry[question]["n"]) == (pytest.approx(chance), n)
        low, high = entry[question]["accuracy_95"]
        assert low <= entry[question]["accuracy"] <= high
    assert entry["effective_levels"] == 4
    assert 0 < entry["bits"]["per_measurement"] <= 8 * 8 * 3 * 2
    assert {one["kind"] for one in found["cycles"][0]["adversaries"]} == {"recognition", "detection"}
    assert found["cycles"][1]["encoder"]["slope"] == 10.0
    assert found["material"]["counts"]["people"] == 3
    assert set(found["versions"]) >= {"torch", "numpy", "python"}


def test_several_adversaries_the_surest_of_which_counts(tmp_path: Path) -> None:
    both = {**SMALL, "networks": [{"network": "small", "width": 0.05}, {"network": "resnet18", "width": 0.05}]}
    seen = []
    plan = tiny(
        privacy={"alpha": 2.0, "entropy": "worst"}, schedule={"cycles": 1, "encoder_steps": 2}, recognition=both
    )
    learn(plan, material(), tmp_path, lambda one: seen.append(one.phase))
    assert list(dict.fromkeys(seen)) == ["judge", "recognition 0", "recognition 1", "detection 0", "encoder"]
    named = [one["network"] for one in json.loads((tmp_path / "learning.json").read_text())["cycles"][0]["adversaries"]]
    assert named == ["small", "resnet18", "small"]


def test_ends_early_once_fresh_networks_stay_down(tmp_path: Path) -> None:
    learn(tiny(schedule={"cycles": 9, "settled_cycles": 1, "settled_below": 100.0}), material(), tmp_path)
    assert len(json.loads((tmp_path / "learning.json").read_text())["cycles"]) == 2


def test_without_cycles_the_start_comes_back(tmp_path: Path) -> None:
    plan, images = tiny(schedule={"cycles": 0}), material()
    start = starting_chain(plan.chain, np.concatenate([images.faces, images.negatives]), plan.seed)
    assert learn(plan, images, tmp_path).id == start.export().id


def test_without_quantization_there_is_a_chain_and_no_encoding(tmp_path: Path) -> None:
    plan = tiny(chain={"levels": None}, schedule={"cycles": 1, "encoder_steps": 2})
    with pytest.raises(PlanError, match="without quantization"):
        learn(plan, material(), tmp_path)
    chain = learn_chain(plan, material(), tmp_path)
    with np.load(tmp_path / "chain.npz") as arrays:
        assert np.array_equal(arrays["kernels"], chain.kernels().detach().numpy())
    assert not (tmp_path / "encoding.npz").exists()


def test_a_chain_with_nothing_to_learn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="nothing to learn"):
        learn(tiny(chain={"learn_kernels": False, "levels": 2}), material(), tmp_path)


def test_a_loss_that_is_no_number_ends_with_what_to_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = torch.tensor(float("nan"), requires_grad=True)
    monkeypatch.setattr("models.encoder.alternate.encoder_loss", lambda *_: (broken, dict.fromkeys(PARTS, 0.0)))
    with pytest.raises(LearningError, match=r"cycle 0, step 0: choose a smaller schedule\.learning_rate"):
        learn(tiny(), material(), tmp_path)


def test_after_a_hundred_steps_gradients_still_reach_everything() -> None:
    """A mask of 63 px, nuisances on, alpha and bits in the loss: what the encoder descends on in earnest."""
    plan = checked_plan(
        {
            "privacy": {"alpha": 5.0, "bits_budget": 100.0},
            "schedule": {"batch": 4},
            "recognition": SMALL,
            "detection": SMALL,
        },
        "x",
    )
    images, rng = material(), np.random.default_rng(0)
    chain = starting_chain(plan.chain, images.faces, 0)
    lesson = Lesson(encoded_looks(chain, images.faces[:2], 1, None, rng), np.zeros(2, np.int64), 3)
    networks = {
        f"{kind} 0": new_network(plan.recognition.networks[0], lesson, [seed])
        for seed, kind in enumerate(("recognition", "detection"))
    }
    nuisance = CameraNuisance(plan.nuisance, 8)
    optimizer = torch.optim.Adam(chain.parameters(), 3e-2)
    sizes: dict[str, list[float]] = {}
    for step in range(100):
        loss, _ = encoder_loss(chain, networks, plan, images, 5.0 + step / 10, nuisance, rng)
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in chain.named_parameters():
            sizes.setdefault(name, []).append(float(parameter.grad.abs().max()))
        optimizer.step()
        kernel = chain.kernels().detach()
        assert float(kernel.min()) >= 0
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-4)
        assert bool((chain.thresholds().diff() >= 0).all())
    assert set(sizes) == {"kernels.logits", "steps"}
    for name, found in sizes.items():
        assert np.median(found[-20:]) > 1e-3 * np.median(found[:20]), name


def stripes_left(encoding: Encoding) -> float:
    """How much of the people's stripes the mask lets through: its response at their frequency."""
    wave = np.exp(-1j * FREQUENCY * np.arange(encoding.kernels.shape[-1]))
    return float(abs((encoding.kernels[0].sum(axis=0) * wave).sum()))


def test_alpha_takes_away_what_tells_people_apart_and_leaves_what_makes_a_face(tmp_path: Path) -> None:
    """Identity is in fine stripes, a face in a broad disc: with alpha the mask learns to blur, without it does not."""
    images = material(people=4, each=16)
    left, record_of = {}, {}
    for alpha in (0.0, 20.0):
        adversary = {
            "networks": [{"network": "small", "width": 0.15}],
            "epochs": 30,
            "batch": 16,
            "learning_rate": 5e-3,
        }
        plan = tiny(
            chain={"levels": 8, "start": {"sigma_px": [0.8], "side_px": 9}},
            privacy={"alpha": alpha},
            schedule={
                "cycles": 4,
                "encoder_steps": 25,
                "batch": 16,
                "looks": 3,
                "learning_rate": 0.1,
                "thresholds_learning_rate": 1e-3,
            },
            recognition={**adversary, "restart_below": 0.0},
            detection={**adversary, "epochs": 8},
            choice={"keep": "last", "every": 4, "face_epochs": 15, "identity_epochs": 2},
            nuisance={"on": False},
        )
        left[alpha] = stripes_left(learn(plan, images, tmp_path / str(alpha)))
        record_of[alpha] = record(tmp_path / str(alpha))["cycles"]
    assert left[20.0] < 0.75 * left[0.0]
    assert record_of[20.0][1]["encoder"]["entropy"] > 0.3
    assert record_of[20.0][-1]["face"]["accuracy"] >= 0.9
