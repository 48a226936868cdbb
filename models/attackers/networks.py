"""Networks that attackers train: a small one, ResNet-18 and GoogLeNet, the last two with instance normalisation.

All take float32 (n, channels, side, side) in 0..1 and give logits (n, classes); `features` gives what the last layer
reads. Sides from 2 up: codes of 8 x 8, 4 x 4 or 2 x 2 cells as well as pictures of 64 px and more. Three rules adapt
the published networks, which were drawn for 224 px:

- The halving steps of the stem (convolution of stride 2, maximum pooling) are used in their order while the side is
  above `SIDE_AFTER_STEM`, else their stride is 1; a 7 x 7 convolution that does not halve becomes 3 x 3, and a maximum
  that does not halve is left out. At 64 px and above all are used, as published.
- A later stage halves only while `SMALLEST_NORMALISED` cells a side are left, so that there always is something to
  normalise: the instance normalisation of a map of 1 x 1 is zero, whatever the input, and that of 2 x 2 is little more.
- A last map below the published 7 x 7 is read whole, others as their mean, as published. A channel of a normalised map
  has the same mean for every input, so of a small map the mean tells little.

`width` scales the number of channels of every layer; 1 is the published network. Needs torch.
"""

from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

NetworkName = Literal["small", "resnet18", "googlenet"]
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)

SIDE_AFTER_STEM = 8
SMALLEST_NORMALISED = 4
SMALLEST_SIDE = 2
PUBLISHED_LAST_SIDE = 7
SMALL_CHANNELS = 192
# Before the classifier, as GoogLeNet has it.
DROPOUT = 0.4


class AttackerNetwork(nn.Module):
    """A body that gives a feature vector, dropout, and one linear layer for the classes."""

    def __init__(self, body: nn.Module, feature_count: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.body = body
        self.feature_count = feature_count
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(feature_count, classes)

    def features(self, images: Tensor) -> Tensor:
        """What the classifier reads, float32 (n, feature_count)."""
        return cast(Tensor, self.body(images))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.dropout(self.features(images))))


def make_network(name: str, channels: int, side: int, classes: int, width: float = 1.0) -> AttackerNetwork:
    """A new network with random weights, drawn from torch's random generator.

    name: "small": five convolutions with batch normalisation; at the width 0.25 it is the network of 48 to 192 channels
    that the project's first attackers were. "resnet18": He et al., CVPR 2016, DOI 10.1109/CVPR.2016.90. "googlenet":
    Szegedy et al., CVPR 2015, DOI 10.1109/CVPR.2015.7298594, without its two auxiliary classifiers: they were there to
    carry gradients past layers without normalisation, which these are not, and would double the number of weights.

    channels, side: of the inputs. width: factor on the channels, above 0. Raises ValueError for what no network can be.
    """
    if name not in NETWORKS:
        raise ValueError(f"there is no network {name!r}; the names are {', '.join(NETWORKS)}")
    if channels < 1 or classes < 1 or side < SMALLEST_SIDE or width <= 0:
        raise ValueError(
            f"a network needs channels and classes >= 1, a side >= {SMALLEST_SIDE} and a width > 0, "
            f"got {channels}, {classes}, {side} and {width:g}"
        )
    make = {"small": _small, "resnet18": _resnet18, "googlenet": _googlenet}[name]
    network = make(channels, side, classes, width)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return network


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def _convolution(
    inputs: int, outputs: int, size: int, stride: int = 1, normalisation: type[nn.Module] = nn.InstanceNorm2d
) -> list[nn.Module]:
    """Convolution without bias, normalised with a learned scale and offset."""
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    return [convolution, normalisation(outputs, affine=True)]


def _halves(side: int, at_least: int) -> tuple[int, int]:
    """Stride of a step that halves as long as `at_least` cells a side are left, and the side that is."""
    return (2, (side + 1) // 2) if (side + 1) // 2 >= at_least else (1, side)


def _stem_halves(side: int) -> tuple[int, int]:
    """The same for a step of the stem."""
    return (2, (side + 1) // 2) if side > SIDE_AFTER_STEM else (1, side)


def _published(layers: list[nn.Module], channels: int, side: int, classes: int, dropout: float) -> AttackerNetwork:
    """A network of these layers, whose last map of (channels, side, side) is read as the third rule says."""
    whole = side < PUBLISHED_LAST_SIDE
    ending = [] if whole else [nn.AdaptiveAvgPool2d(1)]
    count = channels * side * side if whole else channels
    return AttackerNetwork(nn.Sequential(*layers, *ending, nn.Flatten()), count, classes, dropout)


def _small(channels: int, side: int, classes: int, width: float) -> AttackerNetwork:
    base = _scaled(SMALL_CHANNELS, width)
    layers: list[nn.Module] = []
    inputs = channels
    while side > SIDE_AFTER_STEM:
        outputs = max(1, base // 2) if side > 2 * SIDE_AFTER_STEM else base
        layers += [*_convolution(inputs, outputs, 3, 2, nn.BatchNorm2d), nn.ReLU()]
        inputs, side = outputs, (side + 1) // 2
    for outputs, halving in ((base, False), (2 * base, False), (2 * base, True), (4 * base, False), (4 * base, True)):
        stride, side = _halves(side, SMALLEST_SIDE) if halving else (1, side)
        layers += [*_convolution(inputs, outputs, 3, stride, nn.BatchNorm2d), nn.ReLU()]
        inputs = outputs
    return AttackerNetwork(nn.Sequential(*layers, nn.Flatten()), inputs * side * side, classes, DROPOUT)


class _ResidualBlock(nn.Module):
    """Two convolutions of 3 x 3 and a way around them, 1 x 1 where the shape changes (He et al., Fig. 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.straight = nn.Sequential(
            *_convolution(inputs, outputs, 3, stride), nn.ReLU(), *_convolution(outputs, outputs, 3)
        )
        same = stride == 1 and inputs == outputs
        self.around = nn.Identity() if same else nn.Sequential(*_convolution(inputs, outputs, 1, stride))

    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(self.straight(maps) + self.around(maps))


def _resnet18(channels: int, side: int, classes: int, width: float) -> AttackerNetwork:
    inputs = _scaled(64, width)
    stride, side = _stem_halves(side)
    layers: list[nn.Module] = [*_convolution(channels, inputs, 7 if stride == 2 else 3, stride), nn.ReLU()]
    stride, side = _stem_halves(side)
    if stride == 2:
        layers.append(nn.MaxPool2d(3, 2, padding=1))
    for stage, published in enumerate((64, 128, 256, 512)):
        outputs = _scaled(published, width)
        stride, side = _halves(side, SMALLEST_NORMALISED) if stage else (1, side)
        layers += [_ResidualBlock(inputs, outputs, stride), _ResidualBlock(outputs, outputs, 1)]
        inputs = outputs
    return _published(layers, inputs, side, classes, DROPOUT)


# Channels of each inception block: 1 x 1; 3 x 3 reduced and 3 x 3; 5 x 5 reduced and 5 x 5; pool projection (Szegedy et
# al., Table 1). None: maximum pooling that halves.
_INCEPTIONS = (
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    None,
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    None,
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)


class _Inception(nn.Module):
    """Four branches side by side on the same maps, joined by channel (Szegedy et al., Fig. 2b)."""

    def __init__(self, inputs: int, published: tuple[int, ...], width: float) -> None:
        super().__init__()
        one, three_from, three, five_from, five, pool = (_scaled(part, width) for part in published)
        self.outputs = one + three + five + pool
        self.branches = nn.ModuleList(
            [
                nn.Sequential(*_convolution(inputs, one, 1), nn.ReLU()),
                nn.Sequential(
                    *_convolution(inputs, three_from, 1), nn.ReLU(), *_convolution(three_from, three, 3), nn.ReLU()
                ),
                nn.Sequential(
                    *_convolution(inputs, five_from, 1), nn.ReLU(), *_convolution(five_from, five, 5), nn.ReLU()
                ),
                nn.Sequential(nn.MaxPool2d(3, 1, padding=1), *_convolution(inputs, pool, 1), nn.ReLU()),
            ]
        )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([branch(maps) for branch in self.branches], dim=1)


def _googlenet(channels: int, side: int, classes: int, width: float) -> AttackerNetwork:
    first, second = _scaled(64, width), _scaled(192, width)
    stride, side = _stem_halves(side)
    layers: list[nn.Module] = [*_convolution(channels, first, 7 if stride == 2 else 3, stride), nn.ReLU()]
    for convolutions in ([(first, first, 1), (first, second, 3)], []):
        stride, side = _stem_halves(side)
        if stride == 2:
            layers.append(nn.MaxPool2d(3, 2, padding=1))
        for inputs, outputs, size in convolutions:
            layers += [*_convolution(inputs, outputs, size), nn.ReLU()]
    inputs = second
    for published in _INCEPTIONS:
        if published is None:
            stride, side = _halves(side, SMALLEST_NORMALISED)
            if stride == 2:
                layers.append(nn.MaxPool2d(3, 2, padding=1))
            continue
        block = _Inception(inputs, published, width)
        layers.append(block)
        inputs = block.outputs
    return _published(layers, inputs, side, classes, DROPOUT)
