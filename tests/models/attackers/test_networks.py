"""The networks that attackers train: as published at width 1, for every side, and with all their weights learning."""

import pytest

torch = pytest.importorskip("torch", reason="attackers need torch: pip install 'canopic[audit]'")

from models.attackers.networks import NETWORKS, make_network  # noqa: E402


def weights(module: "torch.nn.Module") -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_numbers_of_weights_are_the_published_ones() -> None:
    # Weights of all convolutions, added up from the tables of the papers (He et al., Table 1; Szegedy et al., Table 1).
    for name, published in (("resnet18", 11_166_912), ("googlenet", 5_966_272)):
        body = make_network(name, channels=3, side=224, classes=1000).body
        convolutions = [layer for layer in body.modules() if isinstance(layer, torch.nn.Conv2d)]
        assert sum(weights(layer) for layer in convolutions) == published
        assert weights(body) == published + 2 * sum(layer.out_channels for layer in convolutions)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("side", [2, 4, 8, 10, 64])
def test_every_side_has_something_to_normalise(name: str, side: int) -> None:
    torch.manual_seed(0)
    network = make_network(name, 12, side, 7, 0.1)
    smallest = []
    for layer in network.modules():
        if isinstance(layer, torch.nn.InstanceNorm2d):
            layer.register_forward_hook(lambda _layer, _inputs, output: smallest.append(output.shape[-1]))
    images = torch.rand(3, 12, side, side)
    assert network.features(images).shape == (3, network.feature_count)
    assert network(images).shape == (3, 7)
    assert min(smallest, default=4) >= min(4, side)


def test_large_pictures_pass_the_published_stem_and_codes_none() -> None:
    for name in ("resnet18", "googlenet"):
        for side, stride in ((224, 2), (64, 2), (8, 1)):
            first = next(iter(make_network(name, 3, side, 5, 0.1).body.children()))
            assert first.stride == (stride, stride)
            assert first.kernel_size == ((7, 7) if stride == 2 else (3, 3))


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_every_weight(name: str) -> None:
    torch.manual_seed(0)
    network = make_network(name, 3, 8, 4, 0.1)
    loss = torch.nn.functional.cross_entropy(network(torch.rand(16, 3, 8, 8)), torch.arange(16) % 4)
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in network.parameters() if parameter.ndim > 1)


def test_what_no_network_can_be_is_said() -> None:
    with pytest.raises(ValueError, match="resnet18"):
        make_network("vgg", 3, 8, 4)
    with pytest.raises(ValueError, match="side >= 2"):
        make_network("small", 3, 1, 4)
