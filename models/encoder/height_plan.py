"""What a mask that is learned may be: where it stands, its cells, material, levels and features. Needs no torch."""

from dataclasses import replace
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator

from optics.design.settings import DesignSettings, height_range, prepare_target
from optics.mask import Geometry, circular_stop
from optics.materials import FUSED_SILICA, find_material

Metres = Annotated[float, Field(gt=0)]
Iterations = Annotated[int, Field(ge=0, le=10_000)]


class HeightPlan(BaseModel):
    """A mask's specification, from which `models.encoder.height.HeightKernels` learns. Lengths in metres.

    Light comes from infinity, the stop is the largest circle. What optics cannot do is refused here, in its words.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    sensor_distance_m: Metres = 5e-3
    pixel_pitch_m: Metres = Field(default=6e-6, description="of the sensor: pitch of the kernel's taps")
    wavelengths_m: Annotated[tuple[Metres, Metres, Metres], Strict(False)] = Field(
        default=(640e-9, 550e-9, 460e-9), description="red, green, blue"
    )
    kernel_px: Annotated[int, Field(ge=3, le=255)] = Field(default=63, description="side of the kernels, odd")
    cells: Annotated[int, Field(ge=4, le=1024)] = Field(
        default=255, description="side of the mask, rounded down to whole features"
    )
    pitch_m: Metres = Field(default=2e-6, description="side of a cell")
    material: str = Field(default=FUSED_SILICA.name, description="a name of optics.materials")
    levels: Annotated[int, Field(ge=2, le=256)] | None = Field(
        default=16, description="number of heights, evenly spaced from 0; null: any height"
    )
    height_range_m: Metres | None = Field(default=None, description="largest height; null: what suits the levels")
    min_feature_m: Metres | None = Field(default=None, description="no land or gap is narrower; null: one cell")
    smooth_m: Metres | None = Field(
        default=None, description="sigma of the Gaussian by which the process rounds the relief; only with levels null"
    )
    pair: bool = Field(
        default=False,
        description="two masks for each filter, subtracted before the comparators: share * plus - (1 - share) * minus",
    )
    colours: Literal["own", "mean"] = Field(
        default="own",
        description="own: each colour meets its own PSF, as behind the mask; mean: with the mean of the "
        "three, as in the exported encoding",
    )
    haze: bool = Field(
        default=True,
        description="light that misses the kernel's window is spread evenly over it; false: it is forgotten",
    )
    start: Literal["design", "diffuser"] = Field(
        default="design", description="design: a mask for the starting kernels; diffuser: a random one"
    )
    start_iterations: Iterations = Field(default=30, description="Gerchberg-Saxton's, of the designed start")
    start_descent: Iterations = Field(default=20, description="and the descent's; learning goes on with it")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.kernel_px % 2 == 0:
            raise ValueError(f"kernel_px must be odd, so that a tap lies on the axis, got {self.kernel_px}")
        if self.smooth_m is not None and (self.levels is not None or self.min_feature_m is not None):
            raise ValueError(
                "smooth_m rounds the relief, which levels and min_feature_m do not survive: leave it out, "
                "or set levels: null and leave out min_feature_m"
            )
        # What optics cannot do is said in its words: `DesignError` is a ValueError.
        prepare_target(np.ones((self.kernel_px, self.kernel_px)), self.design())
        return self

    def design(self) -> DesignSettings:
        """The same as settings of `optics.design`, which finds the mask to start from. Raises ValueError."""
        geometry = Geometry(self.sensor_distance_m, self.pixel_pitch_m, wavelengths_m=self.wavelengths_m)
        return DesignSettings(
            levels=self.levels,
            height_range_m=self.height_range_m,
            min_feature_m=self.min_feature_m,
            cells=self.cells,
            pitch_m=self.pitch_m,
            material=find_material(self.material),
            geometry=geometry,
            start_iterations=self.start_iterations,
            iterations=self.start_descent,
            last_moves=0,
            threads=1,
        )

    @property
    def geometry(self) -> Geometry:
        """With the kernel's window."""
        return replace(self.design().geometry, psf_px=(self.kernel_px, self.kernel_px))

    @property
    def largest_m(self) -> float:
        """The largest height."""
        return height_range(self.design())

    @property
    def heights_m(self) -> NDArray[np.float64] | None:
        """The allowed heights, float64 (levels,) from 0, or None for any."""
        return None if self.levels is None else np.linspace(0, self.largest_m, self.levels)

    @property
    def block(self) -> int:
        """Side of a feature in cells."""
        return self.design().feature_cells

    @property
    def features(self) -> int:
        """Number of features along the mask's side."""
        return self.design().features

    @property
    def stop(self) -> NDArray[np.float64]:
        """The clear aperture, amplitude, float64 (side, side) with side = features * block."""
        side = self.features * self.block
        return circular_stop((side, side), self.pitch_m)
