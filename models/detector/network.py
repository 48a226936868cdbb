"""The detector's network: heat map, offset and size from codes, anchor-free and fully convolutional. Needs torch.

After "Objects as Points" (Zhou, Wang, Krahenbuhl 2019, arXiv:1904.07850): each face is the peak of a heat map, and its
box is read at the peak. Three resolutions (1, 1/2, 1/4 of the codes) with skips, since a face spans 2 to 20 cells.
"""

import torch
from torch import Tensor, nn

OUTPUTS = ("heat", "box")


def _step(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a shortcut; width stays."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _step(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(features + self.second(self.first(features)))


class FaceNetwork(nn.Module):
    """float32 (n, channels, rows, columns), codes / 15 -> heat logits (n, 1, rows, columns), box (n, 4, rows, columns).

    box: offset x, offset y from the middle of the cell, ln width, ln height, all in cells. Any number of channels, and
    of rows and columns: where these are no multiples of 4, cells of code 0 are added below and to the right, and what
    is answered for them is cut off. `widths`: channels at full, half and quarter resolution.
    """

    def __init__(self, channels: int = 3, widths: tuple[int, int, int] = (24, 48, 72)) -> None:
        super().__init__()
        full, half, quarter = widths
        self.at_full = nn.Sequential(_step(channels, full), Residual(full))
        self.at_half = nn.Sequential(_step(full, half, stride=2), Residual(half))
        self.at_quarter = nn.Sequential(_step(half, quarter, stride=2), Residual(quarter))
        self.to_half = nn.Conv2d(quarter, half, 1)
        self.mix_half = _step(half, half)
        self.to_full = nn.Conv2d(half, full, 1)
        self.mix_full = nn.Sequential(_step(full, full), _step(full, full))
        self.heat = nn.Conv2d(full, 1, 1)
        self.box = nn.Conv2d(full, 4, 1)
        # Start from "no face anywhere" and a box of four cells: the first steps then need not unlearn everything.
        nn.init.constant_(self.heat.bias, -4.0) if self.heat.bias is not None else None
        if self.box.bias is not None:
            with torch.no_grad():
                self.box.bias.copy_(torch.tensor([0.0, 0.0, 1.3, 1.5]))

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = codes.shape[2:]
        below, right = -rows % 4, -columns % 4
        if below or right:
            codes = nn.functional.pad(codes, (0, right, 0, below))
        full = self.at_full(codes)
        half = self.at_half(full)
        quarter = self.at_quarter(half)
        half = self.mix_half(half + _twice(self.to_half(quarter)))
        full = self.mix_full(full + _twice(self.to_full(half)))
        heat, box = self.heat(full), self.box(full)
        return heat[:, :, :rows, :columns], box[:, :, :rows, :columns]


def _twice(features: Tensor) -> Tensor:
    return nn.functional.interpolate(features, scale_factor=2, mode="nearest")


def detector_loss(heat: Tensor, box: Tensor, targets: dict[str, Tensor]) -> Tensor:
    """Penalty-reduced focal loss of the heat map plus IoU loss of the boxes; targets as `make_targets`, in batches.

    The focal loss is the one of "Objects as Points" (exponents 2 and 4); cells with `care` 0 count for nothing.
    """
    goal, care = targets["heat"], targets["care"]
    log_face, log_none = nn.functional.logsigmoid(heat), nn.functional.logsigmoid(-heat)
    probability = torch.sigmoid(heat)
    peak = (goal >= 0.999).float()
    at_peaks = peak * (1 - probability) ** 2 * log_face
    elsewhere = (1 - peak) * (1 - goal) ** 4 * probability**2 * log_none
    faces = peak.sum().clamp(min=1.0)
    heat_loss = -(care * (at_peaks + elsewhere)).sum() / faces
    weight = targets["box_weight"]
    error = _box_error(box, targets["box"])
    return heat_loss + 2.0 * (weight * error).sum() / weight.sum().clamp(min=1.0)


def _box_error(predicted: Tensor, goal: Tensor) -> Tensor:
    """1 - IoU plus a little absolute error, which has a gradient where boxes do not meet: (n, 1, rows, columns)."""
    size, goal_size = predicted[:, 2:].clamp(-2, 5).exp(), goal[:, 2:].exp()
    low = torch.maximum(predicted[:, :2] - size / 2, goal[:, :2] - goal_size / 2)
    high = torch.minimum(predicted[:, :2] + size / 2, goal[:, :2] + goal_size / 2)
    common = (high - low).clamp(min=0).prod(dim=1, keepdim=True)
    union = size.prod(dim=1, keepdim=True) + goal_size.prod(dim=1, keepdim=True) - common
    distance = (predicted[:, :2] - goal[:, :2]).abs() / goal_size + (predicted[:, 2:] - goal[:, 2:]).abs()
    return 1 - common / union + 0.2 * distance.sum(dim=1, keepdim=True)
