"""Generators: from noise and a condition to images in [0, 1]; a light one, and the papers' transposed convolutions."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from invaudit.inversion.conditions import MODES, Condition, fit_matrix, matrix_channels
from invaudit.runtime.errors import SettingError

SMALLEST_SIDE = 8
"""Smallest side of an image that a generator draws, in pixels."""
SMALLEST_MAP = 4
"""The sides of an image are halved down to the first map while the longer one is at least twice this."""

Padding = Literal["zeros", "reflect"]
"""What convolutions see beyond a border."""


class Generator(Protocol):
    """Makes images from noise and conditions; all of ours are modules of torch."""

    def forward(self, noise: Tensor, condition: Condition) -> Tensor:
        """Return images (N, C, H, W) in [0, 1] for noise (N, Z) and N conditions."""
        ...


class Upsampling(nn.Module):
    """Light generator: a linear layer to a small map, then upsampling and convolutions.

    The map is doubled until it has the size of the image, its channels are halved on the way. A matrix is joined to the
    small map by a convolution as wide as that map: a narrower one would keep a cross from acting far from its row and
    column.

    Args:
        shape: (C, H, W) of an image.
        classes: Number of classes n.
        mode: Condition mode.
        noise: Length Z of a noise vector.
        dropout: Share of channels dropped after each hidden convolution.
        width: Channels of the small map.
        padding: What convolutions see beyond a border: ``zeros``, or ``reflect``, which draws no frame.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        mode: str,
        noise: int,
        dropout: float,
        width: int = 32,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        sizes = _doublings(*shape[1:])
        rows, columns = sizes[0]
        self.embed = Embedding(classes, noise, mode)
        # Channels last in memory: convolutions and upsampling are up to twice as fast that way.
        self.start = nn.Sequential(
            nn.Linear(self.embed.outputs, rows * columns * width), nn.Unflatten(1, (rows, columns, width))
        )
        self.normal = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.join = None
        if MODES[mode].matrix:
            before = width + matrix_channels(classes, sizes[0])
            kernel, around = (rows | 1, columns | 1), (rows // 2, columns // 2)
            self.join = nn.Sequential(
                nn.Conv2d(before, width, kernel, padding=around), nn.BatchNorm2d(width), nn.ReLU()
            )
        convolution = partial(nn.Conv2d, kernel_size=3, padding=1, padding_mode=padding)
        parts: list[nn.Module] = []
        for size in sizes[1:]:
            after = max(width // 2, 8)
            parts += [nn.Upsample(size), convolution(width, after), nn.BatchNorm2d(after), nn.ReLU()]
            if dropout:
                parts.append(nn.Dropout2d(dropout))
            width = after
        self.draw = nn.Sequential(*parts, convolution(width, shape[0]), nn.Sigmoid())
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's stubs

    def forward(self, noise: Tensor, condition: Condition) -> Tensor:
        """Return images (N, C, H, W) in [0, 1] for noise (N, Z) and N conditions."""
        maps = self.normal(self.start(self.embed(noise, condition)).permute(0, 3, 1, 2))
        if self.join is not None:
            maps = self.join(_joined(maps, condition))
        return self.draw(maps)


class Transposed(nn.Module):
    """The papers' generator: eight transposed convolutions with the matrix joined after the third.

    At side 28 the maps are 4, 7, 10, 11, 12, 24, 27, 28 wide, as in the research group's notebooks. Larger images
    enlarge the map of 12 (nearest). Under side 28 the first three layers make the joint map, half as wide as the
    image (as wide under side 16), and only the doubling changes its size, so that there is room for the matrix. The
    last layer ends in a sigmoid, not in their tanh, which does not fit [0, 1].

    Args:
        shape: (C, H, W) of an image.
        classes: Number of classes n.
        mode: Condition mode.
        noise: Length Z of a noise vector.
        dropout: Share of channels dropped in layers 4 to 7.
        width: Channels of the first layer (the notebooks: 64).

    References:
        arXiv 2411.17777 and 2410.16884 for the idea; layer sizes from public notebooks of the authors' group.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, *, mode: str, noise: int, dropout: float, width: int = 64
    ) -> None:
        super().__init__()
        rows, columns = _Axis(shape[1]), _Axis(shape[2])
        self.embed = Embedding(classes, noise, mode)
        before, early = self.embed.outputs, []
        for i, after in enumerate((width, 2 * width, 4 * width)):
            early += _layer(before, after, (rows.early[i], columns.early[i]))
            before = after
        self.early = nn.Sequential(*early)
        by_one, by_three = (rows.by_one, columns.by_one), (rows.by_three, columns.by_three)
        if MODES[mode].matrix:
            before += matrix_channels(classes, (rows.joint, columns.joint))
        late = _layer(before, 8 * width, by_one, dropout=dropout)
        late += _layer(8 * width, 4 * width, by_one, dropout=dropout)
        late += [nn.Upsample((rows.middle, columns.middle))]
        late += _layer(4 * width, 2 * width, (rows.double, columns.double), dropout=dropout)
        self.late = nn.Sequential(*late)
        self.cropped = (rows.cropped, columns.cropped)
        last = _layer(width, shape[0], by_one)[0]
        self.draw = nn.Sequential(*_layer(2 * width, width, by_three, dropout=dropout), last, nn.Sigmoid())
        self.apply(_small_weights)

    def forward(self, noise: Tensor, condition: Condition) -> Tensor:
        """Return images (N, C, H, W) in [0, 1] for noise (N, Z) and N conditions."""
        maps = self.early(self.embed(noise, condition)[:, :, None, None])
        maps = self.late(_joined(maps, condition))
        return self.draw(maps[:, :, : self.cropped[0], : self.cropped[1]])


class Embedding(nn.Module):
    """The input of a generator: noise, and beside it a linear map of the condition's vector where the mode has one."""

    def __init__(self, classes: int, noise: int, mode: str) -> None:
        super().__init__()
        self.classes = classes
        self.linear = nn.Linear(classes, noise) if MODES[mode].vector else None
        self.outputs = 2 * noise if MODES[mode].vector else noise

    def forward(self, noise: Tensor, condition: Condition) -> Tensor:
        """Return (N, Z) or (N, 2 Z)."""
        if self.linear is None or condition.vector is None:
            return noise
        # Entries of a distribution over n classes are about 1 / n; brought to the scale of the noise.
        return torch.cat([noise, self.linear(self.classes * condition.vector - 1)], 1)


GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "upsample": Upsampling,
    "upsample-large": partial(Upsampling, width=192, padding="reflect"),
    "transposed": Transposed,
    "transposed-small": partial(Transposed, width=16),
}
"""Name -> generator: the light one, the same with six times the channels and no frame, for photographs, the papers',
and that with a quarter of the channels (a sixteenth of the cost)."""


def build_generator(
    name: str, shape: tuple[int, int, int], classes: int, *, mode: str, noise: int, dropout: float
) -> nn.Module:
    """Build a generator by name.

    Args:
        name: A key of ``GENERATORS``.
        shape: (C, H, W) of an image, sides from 8 up.
        classes: Number of classes n.
        mode: Condition mode.
        noise: Length of a noise vector.
        dropout: Share of channels dropped, in [0, 1).

    Raises:
        SettingError: Unknown name or mode, or a side under 8.
    """
    if name not in GENERATORS or mode not in MODES:
        raise SettingError(
            f"unknown generator {name!r} or mode {mode!r}; known: {', '.join(GENERATORS)} and {', '.join(MODES)}"
        )
    if min(shape[1:]) < SMALLEST_SIDE:
        raise SettingError(f"images of {shape[1]} x {shape[2]}: a generator draws sides from {SMALLEST_SIDE} up")
    return GENERATORS[name](shape, classes, mode=mode, noise=noise, dropout=dropout)


def _joined(maps: Tensor, condition: Condition) -> Tensor:
    if condition.matrix is None:
        return maps
    return torch.cat([maps, fit_matrix(condition.matrix, (maps.shape[2], maps.shape[3]))], 1)


def _doublings(height: int, width: int) -> list[tuple[int, int]]:
    sizes = [(height, width)]
    while max(sizes[0]) >= 2 * SMALLEST_MAP:
        sizes.insert(0, (-(-sizes[0][0] // 2), -(-sizes[0][1] // 2)))
    return sizes


@dataclass(frozen=True)
class _Kernel:
    """Kernel, stride and padding of a transposed convolution along one axis."""

    size: int
    stride: int = 1
    padding: int = 1


class _Axis:
    """Layers of the transposed generator along one axis of the image: map sizes and kernels."""

    def __init__(self, side: int) -> None:
        large, doubled = side >= 28, side >= 16
        same = _Kernel(3)
        self.cropped = side - 4 if large else side
        self.middle = -(-self.cropped // 2) if doubled else side
        self.joint = 10 if large else self.middle
        self.early = [_Kernel((self.joint + 4 - i) // 3, padding=0) for i in range(3)]
        self.by_one = _Kernel(4) if large else same
        self.double = _Kernel(4, stride=2) if doubled else same
        self.by_three = _Kernel(4, padding=0) if large else same


def _layer(before: int, after: int, kernels: tuple[_Kernel, _Kernel], *, dropout: float = 0.0) -> list[nn.Module]:
    rows, columns = kernels
    convolution = nn.ConvTranspose2d(
        before,
        after,
        kernel_size=(rows.size, columns.size),
        stride=(rows.stride, columns.stride),
        padding=(rows.padding, columns.padding),
    )
    parts: list[nn.Module] = [convolution, nn.BatchNorm2d(after)]
    if dropout:
        parts.append(nn.Dropout2d(dropout))
    return [*parts, nn.ReLU()]


def _small_weights(part: nn.Module) -> None:
    if isinstance(part, nn.ConvTranspose2d):
        nn.init.normal_(part.weight, 0.0, 0.02)
    elif isinstance(part, nn.BatchNorm2d):
        nn.init.normal_(part.weight, 1.0, 0.02)
