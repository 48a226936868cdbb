"""The part of a plan that asks an encoder to let faces be found in whole scenes, not only in crops. Needs no torch."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models.encoder.sections import Count, Positive, Section

SidePx = Annotated[int, Field(ge=64, le=480)]
Width = Annotated[int, Field(ge=4, le=256)]


class ScenesPlan(Section):
    """A detector of the kind that ships learns from windows of scenes, and the encoder descends on its loss, too.

    The detector's loss is that of `models.detector.network.detector_loss`; it has no alpha, `weight` stands before it.
    """

    windows: Count = Field(default=800, description="new windows that the detector learns from in each cycle")
    new_windows: Count = Field(default=4000, description="in the first cycle, where it is new")
    apart: Count = Field(default=240, description="windows of photographs kept apart, for the average precision")
    window_px: Annotated[list[SidePx], Field(min_length=2, max_length=2)] = Field(
        default=[224, 288], description="rows and columns of a window; multiples of four cells"
    )
    weight: Positive = Field(default=0.3, description="of the detector's loss beside the cross-entropy of crops")
    crops_weight: Annotated[float, Field(ge=0)] = Field(
        default=1.0, description="of the cross-entropy of crops; 0: faces in scenes alone"
    )
    batch: Annotated[int, Field(ge=1)] = Field(default=4, description="windows in a step of the encoder")
    widths: Annotated[list[Width], Field(min_length=3, max_length=3)] = Field(
        default=[16, 32, 48], description="of the detector, at full, half and quarter resolution"
    )
    detector_batch: Annotated[int, Field(ge=2)] = 16
    steps: Count = Field(default=250, description="of the detector in each cycle after the first")
    new_steps: Count = Field(default=1000, description="of the detector in the first cycle")
    learning_rate: Positive = 2e-3
    exposures: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = Field(
        default=[0.55, 1.4],
        description="each window is exposed by a factor from this span (log-uniform), where nuisances are on; null: "
        "each meters itself",
    )

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if self.exposures is not None and self.exposures[0] > self.exposures[1]:
            raise PydanticCustomError("scenes", "exposures are expected to be [low, high]")
        return self
