"""The part of a plan that says what the encoder is and where it starts. Needs no torch."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models.encoder.height_plan import HeightPlan
from models.encoder.sections import Positive, Section, Share


class StartPlan(Section):
    """Which kernels the encoder starts from. Lengths in pixels of the crops (64 px wide)."""

    form: Literal["gaussian", "centre_surround", "jet", "halves", "matched", "file", "none"] = Field(
        default="gaussian",
        description="jet: a Gaussian, its first derivatives and its Laplacian; halves: the paper's four; matched: the "
        "linear template of a face (`matched`); file: those of an "
        "encoding that there is, as large as they are; none: one tap",
    )
    path: str | None = Field(default=None, description="file only: an encoding.npz, to go on from")
    sigma_px: Annotated[list[Positive], Field(min_length=1, max_length=16)] = Field(
        default=[4.0], description="width of the Gaussian, one per filter (jet: per four filters)"
    )
    outer_px: Positive = Field(default=8.0, description="centre_surround only: width of what is subtracted")
    side_px: Annotated[int, Field(ge=1, le=255)] = 63
    roughness: Annotated[float, Field(ge=0, le=3)] = Field(
        default=0.0, description="taps times exp(roughness * normal noise), drawn from the plan's seed: breaks symmetry"
    )

    @model_validator(mode="after")
    def _names_its_file(self) -> Self:
        if (self.form == "file") != (self.path is not None):
            raise PydanticCustomError("start", "'form: file' and 'path' expect each other")
        return self


class ChainPlan(Section):
    """Operations of the encoder (`models.encoder.chain.ChainSettings`) and where they start."""

    kernels: Literal["signed", "psf", "pair", "height", "none"] = "psf"
    mask: HeightPlan | None = Field(default=None, description="height only: the mask whose heights are learned")
    learn_kernels: bool = True
    symmetric: bool = Field(
        default=False, description="kernels are the mean of themselves and their mirror image (left and right)"
    )
    pool: Annotated[int, Field(ge=1, le=32)] = 8
    levels: Annotated[int, Field(ge=2, le=16)] | None = Field(default=16, description="null: no quantization")
    range: Literal["fixed", "per_frame"] = "fixed"
    free_thresholds: bool = False
    least_step: Annotated[float, Field(ge=0, lt=0.05)] = Field(
        default=0.0,
        description="each threshold lies at least so far above the one below it, as a share of full scale: the "
        "calibration of a board asks for four times a comparator's hysteresis",
    )
    light: Literal["linear", "srgb"] = "linear"
    start: StartPlan = StartPlan()
    thresholds: Literal["even", "frequent", "spread", "file"] | Annotated[list[Share], Field(max_length=15)] = Field(
        default="frequent",
        description="frequent: codes of the learning images are equally frequent at the start; spread: each the same "
        "factor above the one below it, from darkness to the highest (see nuisance.exposure_span); file: start.path's",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.free_thresholds and (self.levels != 16 or self.range != "per_frame"):
            raise PydanticCustomError("chain", "free_thresholds expects 'levels: 16' and 'range: per_frame'")
        if self.free_thresholds and self.least_step:
            raise PydanticCustomError("chain", "free_thresholds expects 'least_step: 0'")
        if isinstance(self.thresholds, list):
            count = (self.levels or 1) - 1
            if len(self.thresholds) != count:
                raise PydanticCustomError(
                    "chain", "{levels} levels expect {count} thresholds", {"levels": self.levels or 1, "count": count}
                )
            if sorted(self.thresholds) != self.thresholds:
                raise PydanticCustomError("chain", "thresholds are expected to ascend")
        if self.thresholds == "spread" and self.range != "fixed":
            raise PydanticCustomError("chain", "'thresholds: spread' expects 'range: fixed'")
        if self.thresholds == "file" and (self.start.form != "file" or self.levels is None):
            raise PydanticCustomError(
                "chain", "'thresholds: file' expects 'start: {form: file}' and a number of levels"
            )
        if self.kernels == "height" and (self.symmetric or self.start.form == "file"):
            raise PydanticCustomError("chain", "'symmetric' and 'form: file' expect kernels other than a mask's height")
        if (self.start.form == "none") != (self.kernels == "none"):
            raise PydanticCustomError("chain", "'kernels: none' and 'start: {form: none}' expect each other")
        if (self.mask is None) == (self.kernels == "height"):
            raise PydanticCustomError("chain", "'kernels: height' and a section 'mask' expect each other")
        if self.mask is not None and (self.light != "linear" or self.range != "fixed"):
            raise PydanticCustomError("chain", "a mask acts on light: expected 'light: linear' and 'range: fixed'")
        if self.mask is not None and self.mask.kernel_px != self.start.side_px:
            raise PydanticCustomError(
                "chain",
                "mask.kernel_px is {mask} and start.side_px {start}: expected to be equal",
                {"mask": self.mask.kernel_px, "start": self.start.side_px},
            )
        if self.start.form in ("gaussian", "centre_surround", "jet", "matched") and self.start.side_px % 2 == 0:
            raise PydanticCustomError("chain", "'form: {form}' expects an odd side_px", {"form": self.start.form})
        if self.symmetric and self.start.form == "halves" and self.start.side_px % 2 == 0:
            raise PydanticCustomError("chain", "'symmetric: true' expects an odd side_px")
        return self
