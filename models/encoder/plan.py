"""The plan of one learning: every setting of the encoder, its adversaries and their schedule, readable from YAML.

    canopic train encoder PLAN.yaml

A plan decides the result: the same plan, data and machine give the same encoding. Defaults are what two slow cores
finish in minutes; `models.encoder.rows` has the paper's own settings. Needs no torch.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from models.detector.scenes import POOLS
from models.encoder.chain_plan import ChainPlan
from models.encoder.scene_plan import ScenesPlan
from models.encoder.sections import Count, Positive, Section, Share

NetworkName = Literal["small", "resnet18", "googlenet"]
# Where shipped plans are, NAME.yaml each.
PLANS = Path(__file__).parent / "plans"


class PlanError(ValueError):
    """A plan that cannot be followed. The message names the file, each key, its value and what was expected."""


class NetworkPlan(Section):
    """One network: architecture, its width (1.0 is the published one), and how far codes are upsampled before it."""

    network: NetworkName = "small"
    width: Annotated[float, Field(gt=0, le=4)] = 0.25
    upsample: Annotated[int, Field(ge=1, le=8)] = 1

    @property
    def name(self) -> str:
        """As tables name it, such as "resnet18 x8"."""
        return self.network + (f" x{self.upsample}" if self.upsample > 1 else "")


class AdversaryPlan(Section):
    """Networks that learn from the codes of a fixed encoder, each on its own."""

    networks: list[NetworkPlan] = Field(default=[NetworkPlan()], min_length=1, max_length=8)
    epochs: Annotated[int, Field(ge=1)] = Field(default=10, description="passes over its images in one cycle, at most")
    new_epochs: Count | None = Field(default=None, description="passes for a network that is new; null: as epochs")
    enough: Share = Field(default=0.97, description="a cycle's training ends once this share of a pass was right")
    batch: Annotated[int, Field(ge=2)] = 64
    learning_rate: Positive = 2e-3
    falling: bool = Field(default=True, description="the learning rate falls as half a cosine over the epochs")
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    restart_below: Share = Field(
        default=0.1,
        description="a network starts anew once the encoder brought its accuracy on its images below this",
    )
    restart_always: bool = Field(default=False, description="every cycle has new networks")


class PrivacyPlan(Section):
    """The encoder's loss: cross-entropy(detection) - alpha * entropy(recognition) [+ bits over budget], in nats."""

    alpha: Annotated[float, Field(ge=0)] = 10.0
    entropy: Literal["mean", "worst"] = Field(
        default="mean", description="over recognition networks: their mean, or the least (the surest adversary)"
    )
    entropy_on: Literal["faces", "people"] = Field(
        default="faces",
        description="whose entropy counts: all faces', strangers' too, or the networks' own people's, as published",
    )
    bits_budget: Positive | None = Field(
        default=None, description="bits of a face's whole measurement (sum of the codes' entropies); null: no limit"
    )
    bits_weight: Annotated[float, Field(ge=0)] = Field(default=0.05, description="loss per bit above the budget")


class SchedulePlan(Section):
    """How the encoder alternates with its adversaries."""

    cycles: Annotated[int, Field(ge=0, le=1000)] = Field(default=12, description="0: the unlearned encoder")
    encoder_steps: Count = Field(default=60, description="batches in a cycle")
    encoder_epochs: Count | None = Field(default=None, description="instead: passes over the people's faces in a cycle")
    batch: Annotated[int, Field(ge=4)] = Field(default=64, description="images; half of them faces")
    learning_rate: Positive = 3e-2
    thresholds_learning_rate: Positive | None = Field(default=None, description="null: as the kernels")
    slope: Positive = Field(default=5.0, description="of the soft comparators in the first cycle, per code")
    slope_rise: Annotated[float, Field(ge=0)] = Field(default=5.0, description="added with every cycle")
    straight_through: bool = Field(default=False, description="exact codes forward, gradients of the soft ones")
    looks: Annotated[int, Field(ge=1, le=16)] = Field(
        default=3, description="sub-cell shifts per image that adversaries see in a cycle"
    )
    settled_cycles: Count | None = Field(
        default=None, description="ends once the fresh attacker stayed below settled_below for as many cycles"
    )
    settled_below: Positive = Field(default=2.0, description="multiples of chance")
    patience: Count | None = Field(default=None, description="ends after as many cycles without a better choice")


class ChoicePlan(Section):
    """Fresh networks judge every cycle's encoder; by their numbers one is kept."""

    network: NetworkPlan = NetworkPlan()
    people: Annotated[int, Field(ge=2)] | None = Field(
        default=60, description="identity is asked of the people with the most images, so many; null: of all"
    )
    linear: bool = Field(default=True, description="a linear probe answers identity, too, and the better answer counts")
    identity_epochs: Count = 20
    face_epochs: Count = 5
    batch: Annotated[int, Field(ge=2)] = 64
    learning_rate: Positive = 3e-3
    weight_decay: Annotated[float, Field(ge=0)] = 5e-2
    keep: Literal["balance", "last"] = Field(
        default="balance", description="the best face accuracy less identity_weight * identity accuracy, or the last"
    )
    identity_weight: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="points of face accuracy that one point less of identity is worth"
    )
    face_at_least: Share | None = Field(
        default=None, description="of encoders this good at faces the most private one is kept, else the best at faces"
    )
    faces: Literal["crops", "scenes"] = Field(
        default="crops", description="how good at faces: crops told apart, or average precision in windows of scenes"
    )
    every: Count = Field(default=3, description="judge every so many cycles, and the last")


class NuisancePlan(Section):
    """What a real camera adds, drawn afresh at every step; shares of full scale unless said otherwise."""

    on: bool = True
    shot: Annotated[float, Field(ge=0, le=0.2)] = Field(default=0.012, description="most shot noise at full scale")
    read: Annotated[float, Field(ge=0, le=0.2)] = Field(default=0.003, description="most read noise")
    comparator: Annotated[float, Field(ge=0, le=0.1)] = Field(
        default=0.0015 / 2.5, description="offsets and noise of comparators: 1.5 mV of 2.5 V"
    )
    exposure: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.1, description="exposures vary by this share")
    exposure_span: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = Field(
        default=None,
        description="[low, high]: each image is exposed by a factor from this span (log-uniform), as a face is that "
        "does not meter its scene; such as [0.15, 1.2]; null: each image meters itself",
    )
    mask: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05, description="smooth relative error of the PSF (standard deviation)"
    )
    blur_px: Annotated[float, Field(ge=0, le=4)] = Field(default=0.4, description="most extra blur of the PSF, sigma")
    shift_px: Annotated[float, Field(ge=0, le=4)] = Field(default=0.5, description="most shift of the PSF, either way")
    adversaries: bool = Field(
        default=True, description="adversaries also see noisy codes (their first look is always exact)"
    )

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.exposure_span is not None and self.exposure_span[0] > self.exposure_span[1]:
            raise PydanticCustomError("nuisance", "exposure_span is expected to be [low, high]")
        return self


class MaterialPlan(Section):
    """How much of the archives is used. People and images that evaluations use are never among it."""

    most_people: Annotated[int, Field(ge=2)] = 250
    fewest_images: Annotated[int, Field(ge=3)] = 5
    most_images: Annotated[int, Field(ge=3)] = Field(default=12, description="of one person")
    held_out: Annotated[float, Field(gt=0, lt=0.9)] = Field(
        default=0.25, description="share of each person's images, and of the rest, that only the fresh networks meet"
    )
    most_positives: Count = Field(default=800, description="further faces, to learn detection from")
    most_negatives: Count = 1400
    photographs: bool = Field(
        default=True, description="also faces and faceless windows of the same photographs, from the scenes"
    )

    @model_validator(mode="after")
    def _holds_out(self) -> Self:
        if self.most_images * self.held_out < 1:
            raise PydanticCustomError("material", "expected 'held_out' of 1 / most_images or more: one image at least")
        return self


class EncoderPlan(Section):
    """All settings of one learning."""

    name: str = Field(default="encoder", min_length=1)
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    chain: ChainPlan = ChainPlan()
    privacy: PrivacyPlan = PrivacyPlan()
    schedule: SchedulePlan = SchedulePlan()
    recognition: AdversaryPlan = AdversaryPlan(epochs=8, new_epochs=20, learning_rate=3e-3)
    detection: AdversaryPlan = AdversaryPlan(epochs=2, new_epochs=4)
    choice: ChoicePlan = ChoicePlan()
    nuisance: NuisancePlan = NuisancePlan()
    material: MaterialPlan = MaterialPlan()
    scenes: ScenesPlan | None = Field(default=None, description="also faces in whole scenes; null: crops alone")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.scenes is None:
            if self.choice.faces == "scenes":
                raise PydanticCustomError("plan", "'choice: {faces: scenes}' expects a section 'scenes'")
            return self
        pool = self.chain.pool
        if self.chain.levels is None or self.chain.range != "fixed":
            raise PydanticCustomError("plan", "'scenes' expects levels and 'range: fixed': a camera's codes")
        if not POOLS[0] <= pool <= POOLS[1] or any(side % pool for side in self.scenes.window_px):
            raise PydanticCustomError(
                "plan",
                "chain.pool is {pool}: 'scenes' expects {low}..{high} px, and windows of whole cells",
                {"pool": pool, "low": POOLS[0], "high": POOLS[1]},
            )
        return self


def plan_file(word: str) -> Path:
    """The file of a plan: `word` itself as a path where there is such a file, else the shipped plan of that name."""
    shipped = PLANS / f"{word}.yaml"
    # A folder is none: `train encoder sharp --out sharp` goes on when it is given again.
    return shipped if not Path(word).is_file() and shipped.is_file() else Path(word)


def read_plan(path: Path) -> EncoderPlan:
    """The plan in a YAML file; what it leaves out has its default. Raises PlanError for whatever is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        from models.encoder.rows import ROWS  # which imports this module

        shipped = ", ".join(sorted(one.stem for one in PLANS.glob("*.yaml")))
        raise PlanError(
            f"{path}: cannot be read ({error.strerror}); give the YAML file of a plan, the name of a shipped one "
            f"({shipped}), or a row of the paper's Table 1 ({', '.join(ROWS)})"
        ) from None
    except UnicodeDecodeError:
        raise PlanError(f"{path}: is not text; give the YAML file of a plan") from None
    try:
        values = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise PlanError(f"{path}: is not YAML: {error}") from None
    return checked_plan({} if values is None else values, str(path))


def checked_plan(values: Any, source: str) -> EncoderPlan:
    """The plan of plain values (nested dicts), `source` naming them in messages. Raises PlanError."""
    if not isinstance(values, dict):
        raise PlanError(f"{source}: expected sections such as `privacy:`, got {type(values).__name__}")
    try:
        return EncoderPlan.model_validate(values)
    except ValidationError as error:
        raise PlanError("\n".join(f"{source}: {problem}" for problem in _problems(error))) from None


def _problems(error: ValidationError) -> Iterator[str]:
    for one in error.errors():
        key = ".".join(str(part) for part in one["loc"]) or "plan"
        if one["type"] == "extra_forbidden":
            yield f"{key}: is no setting of a plan; remove it or correct its spelling"
        elif isinstance(one["input"], dict):
            yield f"{key}: {one['msg']}"
        else:
            yield f"{key}: {one['input']!r} is refused: {one['msg']}"
