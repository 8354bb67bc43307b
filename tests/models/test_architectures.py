"""Every architecture at several sizes, and what is read from it."""

import pytest
import torch

from invaudit.models import ARCHITECTURES, InputSpec, build
from invaudit.runtime.errors import ModelError

NAMES = [*ARCHITECTURES, "mlp-20-10"]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 12), (1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("name", NAMES)
def test_form_is_blocks_pool_head(name, shape, rng):
    spec = InputSpec(*shape)
    network = build(name, spec, 7).eval()
    inputs = torch.randn((2, *shape), generator=rng)
    with torch.no_grad():
        logits = network(inputs)
        assert logits.shape == (2, 7)
        assert torch.equal(network.head(network.pool(network.blocks(inputs))), logits)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_learns(name, rng):
    network = build(name, InputSpec(1, 16, 16), 4).train()
    network(torch.randn((8, 1, 16, 16), generator=rng)).square().sum().backward()
    for label, value in network.named_parameters():
        assert value.grad is not None, label
        assert value.grad.isfinite().all(), label


@pytest.mark.parametrize(("name", "count"), [("resnet20", 269_722), ("resnet18", 11_173_962)])
def test_known_networks_have_the_published_number_of_weights(name, count):
    network = build(name, InputSpec(3, 32, 32), 10)
    assert sum(value.numel() for value in network.parameters()) == count


def test_parameter_free_shortcut_pads_channels_on_both_sides(rng):
    block = build("resnet20", InputSpec(3, 32, 32), 10).blocks[2][0].eval()
    for part in (block.conv1, block.conv2):
        part.weight.data.zero_()
    inputs = torch.rand((2, 16, 8, 8), generator=rng)
    with torch.no_grad():
        outputs = block(inputs)
    assert torch.equal(outputs[:, 8:24], inputs[:, :, ::2, ::2])
    assert outputs[:, :8].abs().sum() + outputs[:, 24:].abs().sum() == 0


def test_mlp_takes_its_widths_from_the_name():
    network = build("mlp-20-10", InputSpec(1, 8, 8), 3)
    widths = [part.out_features for part in network.modules() if isinstance(part, torch.nn.Linear)]
    assert widths == [20, 10, 3]


@pytest.mark.parametrize("name", ["alexnet", "mlp-", "mlp-0", "mlp-a", "cnn-3", ""])
def test_unknown_architecture_is_refused_with_the_known_ones(name):
    with pytest.raises(ModelError, match="known: cnn, small-cnn"):
        build(name, InputSpec(1, 8, 8), 3)
