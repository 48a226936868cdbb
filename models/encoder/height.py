"""A phase mask's heights, learned through the propagation of light: the kernels are what the mask does. Needs torch.

    parameters -> heights -> light behind the mask -> free space -> intensity -> pixels: PSF -> kernels

Free space and pixels are `optics.design.lane`'s, so the PSF is that of `optics.psf`, with a gradient. Each colour has
a PSF of its own, and learns with it. What a built mask may be holds at every step, because no parameter can leave it:
heights are folded back into their range, features are blocks of cells, levels are levels (decision 0037).
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.encoder.height_plan import HeightPlan
from optics.design.lane import Lane, make_lane
from optics.mask import Mask, cell_positions_m
from optics.materials import find_material


class HeightKernels(nn.Module):
    """One mask per filter; called, it gives their kernels, one for each colour or the mean of them, as the plan says.

    start_m: heights of features in metres, float64 (masks, features, features), within the plan's range (rounded to its
    levels); see `models.encoder.height_masks` for some. double: float64 all the way instead of float32, for checks.
    With the plan's pair each filter has two masks, plus and minus in turn, and its kernel is share * plus - (1 - share)
    * minus (sub-apertures: `optics.signed`). shares: of the light that goes to plus, to start from, default a half.

    The parameter `delay_rad` is the middle colour's delay before it is folded into the range, so that a step of Adam at
    rate 0.05 turns no light by much more than that. Kernels are never negative and sum to the throughput, or to one
    with the plan's haze. Raises ValueError for another shape, SamplingError where no grid of a bearable size would do.
    """

    clear: Tensor
    rounding: Tensor | None

    def __init__(
        self,
        plan: HeightPlan,
        start_m: NDArray[np.float64],
        shares: Sequence[float] | None = None,
        double: bool = False,
    ) -> None:
        super().__init__()
        start = np.asarray(start_m, np.float64)
        if start.ndim != 3 or not len(start) or start.shape[1:] != (plan.features, plan.features):
            raise ValueError(
                f"start_m must be (masks, {plan.features}, {plan.features}), since so many features of "
                f"{plan.block * plan.pitch_m:g} m fit along the mask, got {start.shape}"
            )
        if not (np.isfinite(start).all() and start.min() >= 0 and start.max() <= plan.largest_m * (1 + 1e-9)):
            raise ValueError(
                f"start_m must lie in 0 to {plan.largest_m:.4g} m, got {start.min():.4g} to {start.max():.4g}"
            )
        self.plan = plan
        kind = torch.float64 if double else torch.float32
        self.filters, rest = divmod(len(start), 2 if plan.pair else 1)
        if rest:
            raise ValueError(f"start_m must hold two masks for each filter of a pair, got {len(start)} masks")
        if plan.pair:
            share = np.clip([0.5] * self.filters if shares is None else shares, 0.02, 0.98)
            if share.shape != (self.filters,):
                raise ValueError(f"shares must be one for each of {self.filters} filters, got {share.shape}")
            self.share_logit = nn.Parameter(torch.from_numpy(np.log(share / (1 - share))).to(kind))
        stop, material = plan.stop, find_material(plan.material)
        lanes = [make_lane(stop, plan.pitch_m, plan.geometry, material, each, double) for each in plan.wavelengths_m]
        self.ways = nn.ModuleList(_Way(lane, plan.heights_m) for lane in lanes)
        self.unit_m = 1 / sorted(lane.phase_per_m for lane in lanes)[1]
        self.highest_rad = plan.largest_m / self.unit_m
        self.delay_rad = nn.Parameter(torch.from_numpy(start / self.unit_m).to(kind))
        lit = stop.reshape(plan.features, plan.block, plan.features, plan.block).any(axis=(1, 3))
        self.register_buffer("clear", torch.from_numpy(np.asarray(lit)), persistent=False)
        rounding = None if plan.smooth_m is None else torch.from_numpy(_rounding(plan, len(stop))).to(kind)
        self.register_buffer("rounding", rounding, persistent=False)

    def forward(self) -> Tensor:
        """Kernels (filters, 3, kernel_px, kernel_px), or (filters, kernel_px, kernel_px) of the colours' mean.

        The PSFs, and the haze of the light that misses them.
        """
        kernels = self.psf()
        if self.plan.haze:
            missed = (1 - kernels.sum(dim=(2, 3), keepdim=True)).clamp(min=0)
            kernels = kernels + missed / self.plan.kernel_px**2
        if self.plan.pair:
            share = torch.sigmoid(self.share_logit)[:, None, None, None]
            kernels = share * kernels[0::2] - (1 - share) * kernels[1::2]
        return kernels.mean(dim=1) if self.plan.colours == "mean" else kernels

    def psf(self) -> Tensor:
        """PSF of each mask in each colour, (masks, 3, kernel_px, kernel_px): that of `optics.psf.psf` on `masks`."""
        folded = self._folded_rad()
        block = self.plan.block
        if self.plan.levels is not None:
            steps = folded * ((self.plan.levels - 1) / self.highest_rad)
            planes = [way.through(_cells(way.stepped(steps), block)) for way in self._ways()]
        else:
            cells_m = _cells(folded, block) * self.unit_m
            if self.rounding is not None:
                cells_m = self.rounding @ cells_m @ self.rounding.T
            planes = [way.through(way.delayed(cells_m)) for way in self._ways()]
        return torch.stack(planes, dim=1)

    @torch.no_grad()
    def heights(self) -> NDArray[np.float64]:
        """Heights of cells in metres as a maker gets them, float64 (masks, side, side): 0 where no light passes."""
        folded = self._folded_rad().double().cpu().numpy()
        allowed_m = self.plan.heights_m
        if allowed_m is not None:
            steps = self._folded_rad() * ((allowed_m.size - 1) / self.highest_rad)
            below, above, _ = _nearest(steps, allowed_m.size)
            heights_m = allowed_m[(below + above.long()).cpu().numpy()]
        else:
            heights_m = np.clip(folded * self.unit_m, 0, self.plan.largest_m)
        cells_m = heights_m.repeat(self.plan.block, axis=1).repeat(self.plan.block, axis=2)
        if self.plan.smooth_m is not None:
            rounding = _rounding(self.plan, cells_m.shape[1])
            cells_m = rounding @ cells_m @ rounding.T
        clear = self.clear.cpu().numpy().repeat(self.plan.block, axis=0).repeat(self.plan.block, axis=1)
        return np.where(clear, cells_m, 0.0)

    def masks(self) -> list[Mask]:
        """The masks as they are now, for files, tolerances and `optics.psf`: one per filter, or plus and minus."""
        plan = self.plan
        about = {
            "made_by": "models.encoder.height",
            "levels": plan.levels,
            "height_range_m": plan.largest_m,
            "min_feature_m": plan.block * plan.pitch_m,
        }
        material, geometry = find_material(plan.material), plan.geometry
        return [
            Mask(heights_m, plan.pitch_m, material, geometry, plan.stop, about={**about, "name": name})
            for name, heights_m in zip(self.names, self.heights(), strict=True)
        ]

    @property
    def names(self) -> list[str]:
        """One for each of `masks`."""
        signs = ("_plus", "_minus") if self.plan.pair else ("",)
        return [f"mask_{number}{sign}" for number in range(self.filters) for sign in signs]

    @torch.no_grad()
    def shares(self) -> list[float] | None:
        """Share of the light that goes to each pair's plus; None where there are no pairs."""
        return [float(share) for share in torch.sigmoid(self.share_logit)] if self.plan.pair else None

    def _folded_rad(self) -> Tensor:
        """A height that would leave its range comes back into it, and keeps a gradient: a clamp or sigmoid does not."""
        folded = torch.remainder(self.delay_rad, 2 * self.highest_rad)
        return torch.where(folded <= self.highest_rad, folded, 2 * self.highest_rad - folded)

    def _ways(self) -> list["_Way"]:
        return [cast(_Way, way) for way in self.ways]


class _Way(nn.Module):
    """One colour's way from cells to pixels: `optics.design.lane.Lane` as tensors."""

    incident: Tensor
    transfer: Tensor
    pixel_rows: Tensor
    pixel_columns: Tensor
    phasors: Tensor
    chords: Tensor

    def __init__(self, lane: Lane, heights_m: NDArray[np.float64] | None) -> None:
        super().__init__()
        self.phase_per_m, self.repeat, self.wave, self.window = lane.phase_per_m, lane.repeat, lane.wave, lane.window
        kept = {
            "incident": lane.incident,
            # Turned over: transforms along memory are several times faster than those across it.
            "transfer": lane.transfer.T,
            "pixel_rows": lane.pixel_rows,
            "pixel_columns": lane.pixel_columns,
        }
        if heights_m is not None:
            kept["phasors"] = np.exp(1j * lane.phase_per_m * heights_m).astype(lane.incident.dtype)
            kept["chords"] = np.diff(kept["phasors"])
        for name, values in kept.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values)), persistent=False)

    def delayed(self, height_m: Tensor) -> Tensor:
        """By what heights multiply the light: complex, same shape."""
        phase = height_m * self.phase_per_m
        return torch.complex(torch.cos(phase), torch.sin(phase))

    def stepped(self, steps: Tensor) -> Tensor:
        """By what the nearest level multiplies the light, with the gradient of the chord to the other neighbour.

        Half a wave apart, the derivative by height is at right angles to the step that will be taken: decision 14.
        """
        below, above, part = _nearest(steps, self.phasors.numel())
        return self.phasors[below] + (above + part - part.detach()) * self.chords[below]

    def through(self, cells: Tensor) -> Tensor:
        """PSF (masks, rows, columns) of masks that multiply the light by `cells`, complex (masks, side, side)."""
        field = _cells(cells, self.repeat) * self.incident
        spectrum = torch.fft.fft(field, n=self.wave[1], dim=2)[..., : self.transfer.shape[0]]
        spectrum = torch.fft.fft(spectrum.transpose(1, 2).contiguous(), n=self.wave[0], dim=2) * self.transfer
        half = torch.fft.ifft(spectrum, dim=2)[..., : self.window[0]]
        there = torch.fft.ifft(half.transpose(1, 2).contiguous(), n=self.wave[1], dim=2)[..., : self.window[1]]
        intensity = there.real.square() + there.imag.square()
        # As in `optics.psf`: the kernel that integrates over a pixel leaves -1e-5 or so beside bright ones.
        planes: Tensor = self.pixel_rows @ intensity @ self.pixel_columns.T
        return planes.clamp(min=0)


def _nearest(steps: Tensor, levels: int) -> tuple[Tensor, Tensor, Tensor]:
    """The level below (long), whether the one above is nearer (0 or 1), and the part of the way to it."""
    below = steps.detach().floor().clamp(0, levels - 2)
    part = steps - below
    return below.long(), (part.detach() >= 0.5).to(steps.dtype), part


def _cells(blocks: Tensor, block: int) -> Tensor:
    return blocks if block == 1 else blocks.repeat_interleave(block, 1).repeat_interleave(block, 2)


def _rounding(plan: HeightPlan, side: int) -> NDArray[np.float64]:
    """The process's Gaussian along one direction, (side, side): rows sum to one, so that no range is left."""
    place_m = cell_positions_m(side, plan.pitch_m)
    away = (place_m[:, np.newaxis] - place_m) / cast(float, plan.smooth_m)
    weights = np.exp(-(away**2) / 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
