"""Architectures, all of one form: blocks, then a pool to features, then a linear head."""

import re
from collections.abc import Callable
from itertools import pairwise
from math import prod

from torch import Tensor, nn
from torch.nn import functional

from invaudit.models.spec import InputSpec
from invaudit.runtime.errors import ModelError


class Classifier(nn.Module):
    """``head(pool(blocks(x)))``: logits (B, K) of normalised images (B, C, H, W).

    Args:
        blocks: Parts whose outputs are maps (or hidden activations).
        pool: From the last block's output to features (B, D).
        head: Linear layer from features to logits.
    """

    def __init__(self, blocks: list[nn.Module], pool: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.blocks, self.pool, self.head = nn.Sequential(*blocks), pool, head

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (B, K)."""
        return self.head(self.pool(self.blocks(inputs)))


def cnn(
    spec: InputSpec,
    outputs: int,
    *,
    widths: tuple[int, int, int] = (64, 128, 256),
    hidden: int = 128,
    dropout: float = 0.25,
) -> Classifier:
    """Build the papers' classifier: convolution, batch norm, leaky ReLU, dropout, fully connected.

    References:
        The family of arXiv 2505.23448; sizes of the research group's public notebooks. Sides under 16 keep their size
        in the first block, so that any side from 8 up works.
    """
    blocks: list[nn.Module] = []
    before, side = spec.channels, min(spec.height, spec.width)
    for index, width in enumerate(widths):
        halve = index == 1 or (index == 0 and side >= 16)
        convolution = nn.Conv2d(before, width, 4, 2, 1) if halve else nn.Conv2d(before, width, 3, 1, 1)
        blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.LeakyReLU(0.2)))
        before = width
    pool = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(_width(blocks, spec), hidden), nn.ReLU())
    return Classifier(blocks, pool, nn.Linear(hidden, outputs))


def small_cnn(spec: InputSpec, outputs: int) -> Classifier:
    """Build the papers' classifier in a size for images of 8 x 8."""
    return cnn(spec, outputs, widths=(32, 64, 64), hidden=64)


def plain_cnn(spec: InputSpec, outputs: int) -> Classifier:
    """Build two strided convolutions and two linear layers with ReLU, without normalisation."""
    blocks: list[nn.Module] = [
        nn.Sequential(nn.Conv2d(spec.channels, 16, 4, 2, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU()),
    ]
    pool = nn.Sequential(nn.Flatten(), nn.Linear(_width(blocks, spec), 100), nn.ReLU())
    return Classifier(blocks, pool, nn.Linear(100, outputs))


def tiny_cnn(spec: InputSpec, outputs: int) -> Classifier:
    """Build two strided convolutions and one linear layer with ReLU, without normalisation."""
    blocks: list[nn.Module] = [
        nn.Sequential(nn.Conv2d(spec.channels, 16, 3, 2, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU()),
    ]
    return Classifier(blocks, nn.Flatten(), nn.Linear(_width(blocks, spec), outputs))


def vgg_small(spec: InputSpec, outputs: int) -> Classifier:
    """Build five convolutions of 3 x 3 with batch norm and ReLU, two of them strided, and a mean over positions.

    At 32 x 32 a pass costs 29 million multiplications, less than ResNet-20's 41 million.
    """
    blocks: list[nn.Module] = []
    before = spec.channels
    for width, stride in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        convolution = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU()))
        before = width
    return Classifier(blocks, _GlobalPool(), nn.Linear(before, outputs))


def mlp(spec: InputSpec, outputs: int, *, hidden: tuple[int, ...] = (300,)) -> Classifier:
    """Build a fully connected network with ReLU; ``mlp-300-100`` names one with these hidden widths."""
    widths = (spec.channels * spec.height * spec.width, *hidden)
    blocks: list[nn.Module] = []
    for before, after in pairwise(widths):
        blocks.append(nn.Sequential(nn.Flatten(), nn.Linear(before, after), nn.ReLU()))
    return Classifier(blocks, nn.Identity(), nn.Linear(widths[-1], outputs))


class _Residual(nn.Module):
    def __init__(self, before: int, after: int, stride: int, *, projected: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.padding = stride, (after - before) // 2
        changes = stride != 1 or before != after
        self.shortcut = (
            nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
            if changes and projected
            else None
        )

    def forward(self, inputs: Tensor) -> Tensor:
        passed = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(inputs)))))
        if self.shortcut is not None:
            skipped = self.shortcut(inputs)
        else:
            skipped = functional.pad(
                inputs[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding)
            )
        return functional.relu(passed + skipped)


class _GlobalPool(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3))


def _resnet(spec: InputSpec, outputs: int, widths: tuple[int, ...], depth: int, *, projected: bool) -> Classifier:
    stem = nn.Sequential(nn.Conv2d(spec.channels, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
    blocks: list[nn.Module] = [stem]
    before, stride = widths[0], 1
    for width in widths:
        parts = [_Residual(before, width, stride, projected=projected)]
        for _ in range(depth - 1):
            parts.append(_Residual(width, width, 1, projected=projected))
        blocks.append(nn.Sequential(*parts))
        before, stride = width, 2
    return Classifier(blocks, _GlobalPool(), nn.Linear(widths[-1], outputs))


def resnet18(spec: InputSpec, outputs: int) -> Classifier:
    """Build ResNet-18 for small images: 3 x 3 stem, no max-pool (He et al. 2016, the usual CIFAR form)."""
    return _resnet(spec, outputs, (64, 128, 256, 512), 2, projected=True)


def resnet20(spec: InputSpec, outputs: int) -> Classifier:
    """Build CIFAR ResNet-20 with parameter-free shortcuts (He et al. 2016, section 4.2, option A)."""
    return _resnet(spec, outputs, (16, 32, 64), 3, projected=False)


ARCHITECTURES: dict[str, Callable[..., Classifier]] = {
    "cnn": cnn,
    "small-cnn": small_cnn,
    "plain-cnn": plain_cnn,
    "tiny-cnn": tiny_cnn,
    "vgg-small": vgg_small,
    "mlp": mlp,
    "resnet18": resnet18,
    "resnet20": resnet20,
}


MOST_NUMBERS = 2**29
"""Weights of a fully connected network at most: 2 GB."""


def full_name(arch: str) -> str:
    """Return an architecture with its family, as files and ``load_model`` have it; a name alone is one of ours.

    Example:
        >>> full_name("cnn"), full_name("timm:resnet18")
        ('invaudit:cnn', 'timm:resnet18')
    """
    return arch if ":" in arch else f"invaudit:{arch}"


def build(name: str, spec: InputSpec, outputs: int) -> Classifier:
    """Build an architecture by name.

    Args:
        name: A key of ``ARCHITECTURES``, or ``mlp-WIDTH-WIDTH...``, with or without ``invaudit:`` before it.
        spec: What it takes.
        outputs: Number of logits.

    Raises:
        ModelError: Unknown name; the message lists the known ones.
    """
    name = name.removeprefix("invaudit:")
    if name in ARCHITECTURES:
        try:
            return ARCHITECTURES[name](spec, outputs)
        except (RuntimeError, ModelError) as error:
            raise ModelError(f"{name} takes images with sides from 8 up, not {spec.shape} ({error})") from error
    if not re.fullmatch(r"mlp(-[1-9][0-9]{0,5}){1,16}", name):
        raise ModelError(
            f"unknown architecture {name[:80]!r}; known: {', '.join(ARCHITECTURES)}, mlp-WIDTH-WIDTH... (16 widths up "
            "to 999999)"
        )
    hidden = tuple(map(int, name.split("-")[1:]))
    numbers = sum(before * after for before, after in pairwise((prod(spec.shape), *hidden, outputs)))
    if numbers > MOST_NUMBERS:
        raise ModelError(
            f"{name} would have {numbers} weights for inputs {spec.shape}, expected {MOST_NUMBERS} at most"
        )
    return mlp(spec, outputs, hidden=hidden)


def _width(blocks: list[nn.Module], spec: InputSpec) -> int:
    """Return how many values the last block gives for one image.

    By arithmetic: a forward pass of a network without weights, as a file is first built, loads torch's compiler.
    """
    channels, sides = spec.channels, [spec.height, spec.width]
    for part in nn.Sequential(*blocks).modules():
        if isinstance(part, nn.Conv2d):
            channels = part.out_channels
            for axis, side in enumerate(sides):
                room = side + 2 * int(part.padding[axis]) - part.kernel_size[axis]
                if room < 0:
                    raise ModelError(
                        f"images with sides {spec.height} x {spec.width} are too small for its convolutions"
                    )
                sides[axis] = room // part.stride[axis] + 1
    return channels * sides[0] * sides[1]
