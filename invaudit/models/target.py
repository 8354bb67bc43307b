"""The target: a classifier with its input spec, and what is read from it in one forward pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from invaudit.data import ImageSet
from invaudit.models.architectures import Classifier
from invaudit.models.layers import Layers, find_layers
from invaudit.runtime.errors import ModelError, ShapeError
from invaudit.runtime.files import content_hash


@dataclass(frozen=True)
class InputSpec:
    """What a target takes: images of this shape in [0, 1], normalised inside with this mean and std per channel."""

    channels: int
    height: int
    width: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.height, self.width


@dataclass(frozen=True)
class Activations:
    """What one forward pass gives for N images.

    Attributes:
        images: (N, C, H, W) float32 in [0, 1]; (0, C, H, W) where they were left out.
        logits: (N, K).
        features: (N, D), the input of the last linear layer.
        maps: One (N, C_l, H_l, W_l) for each block; empty where there are none, or where they were left out.
        moments: One (N, 2 C_l) for each block: mean and std over positions (hidden activations where a block has none).
    """

    images: Tensor
    logits: Tensor
    features: Tensor
    maps: tuple[Tensor, ...]
    moments: tuple[Tensor, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.logits)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Activations":
        """Return the same with every tensor changed."""
        return Activations(
            change(self.images),
            change(self.logits),
            change(self.features),
            tuple(change(value) for value in self.maps),
            tuple(change(value) for value in self.moments),
        )

    def select(self, index: Tensor | slice) -> "Activations":
        """Return the activations of some of the images."""
        return self.map(lambda value: value[index] if len(value) else value)

    def classes_only(self, n: int) -> "Activations":
        """Return the same with the first n logits alone (without the garbage class)."""
        return replace(self, logits=self.logits[:, :n])

    def vectors_only(self) -> "Activations":
        """Return the same without images and maps, which are by far the largest parts."""
        return replace(self, images=self.images[:0], maps=())

    @staticmethod
    def cat(parts: "Sequence[Activations]") -> "Activations":
        """Join the activations of several batches."""
        return Activations(
            torch.cat([part.images for part in parts]),
            torch.cat([part.logits for part in parts]),
            torch.cat([part.features for part in parts]),
            tuple(torch.cat(maps) for maps in zip(*(part.maps for part in parts), strict=True)),
            tuple(torch.cat(moments) for moments in zip(*(part.moments for part in parts), strict=True)),
        )


class Target(nn.Module):
    """A classifier that is inverted, guarded or audited.

    Args:
        module: Any classifier from normalised images to logits whose last layer is linear.
        spec: What it takes.
        classes: Number of ID classes; a module with one output more has a garbage class, the last.
        layers: Names of the linear head and of the blocks; found by one forward pass where not given.
        arch: Name by which ``load_target`` can build the module again.

    Raises:
        ModelError: The last layer is not linear, or the number of outputs does not fit.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, module: nn.Module, spec: InputSpec, classes: int, *, layers: Layers | None = None, arch: str | None = None
    ) -> None:
        super().__init__()
        device = next((value.device for value in module.parameters()), None)
        for name, values in (("mean", spec.mean), ("std", spec.std)):
            if len(values) not in (1, spec.channels):
                raise ModelError(f"the input spec has {len(values)} values of {name} for {spec.channels} channels")
            self.register_buffer(name, torch.tensor(values, device=device).view(1, -1, 1, 1), persistent=False)
        self.module, self.spec, self.classes, self.arch = module, spec, classes, arch
        self.layers = layers or self._find_layers()
        self.outputs = self.head.out_features
        if self.outputs not in (classes, classes + 1):
            raise ModelError(
                f"the model has {self.outputs} outputs, expected {classes} classes, or one more with garbage"
            )

    @property
    def has_garbage(self) -> bool:
        """Whether the last output is a garbage class."""
        return self.outputs == self.classes + 1

    @property
    def head(self) -> nn.Linear:
        """The last linear layer."""
        head = self.module.get_submodule(self.layers.head)
        if not isinstance(head, nn.Linear):
            raise ModelError(f"the last layer {self.layers.head!r} is {type(head).__name__}, expected nn.Linear")
        return head

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.head.weight.device

    @property
    def tail(self) -> Callable[[Tensor], Tensor] | None:
        """From the last block's map to logits; None where this part cannot be called by itself."""
        module = self.module
        return (lambda maps: module.head(module.pool(maps))) if isinstance(module, Classifier) else None

    @property
    def hash(self) -> str:
        """Content hash of weights, input spec and classes."""
        parts: list[bytes | str] = [repr(self.spec), str(self.classes)]
        for name, value in self.module.state_dict().items():
            parts += [name, value.detach().cpu().contiguous().numpy().tobytes()]
        return content_hash(*parts)

    def normalise(self, images: Tensor) -> Tensor:
        """Return images in [0, 1], (B, C, H, W), as the module takes them."""
        if images.shape[1:] != self.spec.shape:
            raise ShapeError(
                f"images have shape {tuple(images.shape[1:])}, the model takes {self.spec.shape}; resize them"
            )
        return (images - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K) of images (B, C, H, W) in [0, 1]."""
        return self.module(self.normalise(images))

    def activations(self, images: Tensor) -> Activations:
        """Return everything of one forward pass over images (B, C, H, W) in [0, 1]; differentiable."""
        with self.layers.recorded(self.module) as seen:
            logits = self.forward(images)
        blocks = [seen[name] for name in self.layers.blocks]
        features = seen[self.layers.head]
        maps = tuple(block for block in blocks if block.ndim == 4)
        return Activations(images, logits, features, maps, tuple(moments(block) for block in blocks or [features]))

    def first_outputs(self, n: int) -> "Target":
        """Return a copy whose head gives the first n logits only."""
        module = deepcopy(self.module)
        old = self.head
        head = deepcopy(old)
        head.out_features = n
        head.weight = nn.Parameter(old.weight[:n].detach().clone())
        if old.bias is not None:
            head.bias = nn.Parameter(old.bias[:n].detach().clone())
        module.set_submodule(self.layers.head, head)
        return Target(module, self.spec, min(self.classes, n), layers=self.layers).train(self.training)

    def _find_layers(self) -> Layers:
        if isinstance(self.module, Classifier):
            return Layers("head", tuple(f"blocks.{i}" for i in range(len(self.module.blocks))))
        with borrowed(self), torch.no_grad():
            size = 2 * self.spec.channels * self.spec.height * self.spec.width
            images = torch.linspace(0, 1, size, device=self.mean.device)
            return find_layers(self.module, self.normalise(images.view(2, *self.spec.shape)))


def moments(block: Tensor) -> Tensor:
    """Return mean and std over positions of every channel, (N, 2C), of a map (N, C, H, W); (N, D) stays as it is."""
    if block.ndim != 4:
        return block.flatten(1)
    flat = block.flatten(2)
    mean = flat.mean(2)
    return torch.cat([mean, (flat - mean[:, :, None]).square().mean(2).clamp_min(1e-12).sqrt()], 1)


@contextmanager
def borrowed(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode with frozen parameters and give it back as it was."""
    modes = [(part, part.training) for part in module.modules()]
    grads = [(value, value.requires_grad) for value in module.parameters()]
    module.eval().requires_grad_(False)
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
        for value, grad in grads:
            value.requires_grad_(grad)


def passes(target: Target, images: ImageSet | Tensor, *, batch_size: int = 128) -> Iterator[Activations]:
    """Pass every image through the target once, in eval mode, and give the activations batch by batch.

    Nothing is kept: whoever only scores images needs no room for their maps.

    Args:
        target: The target.
        images: An image set, or (N, C, H, W) float32 in [0, 1].
        batch_size: Images per forward pass.

    Yields:
        Activations on the CPU; the images are as they were given.

    Raises:
        ShapeError: There are no images, or they have another shape than the target takes.
        ModelError: A logit is not finite.
    """
    if not len(images):
        raise ShapeError("got no images, expected at least one")
    for start in range(0, len(images), batch_size):
        index = slice(start, start + batch_size)
        batch = images.floats(index) if isinstance(images, ImageSet) else images[index]
        with borrowed(target), torch.no_grad():
            part = replace(target.activations(batch.to(target.device)).map(Tensor.cpu), images=batch)
        if not part.logits.isfinite().all():
            raise ModelError("the model gives logits that are not finite; check its weights and the input spec")
        yield part


def collect(target: Target, images: ImageSet | Tensor, *, batch_size: int = 128, keep_maps: bool = True) -> Activations:
    """Pass every image through the target once and keep what it gives, on the CPU.

    Args:
        target: The target.
        images: An image set, or (N, C, H, W) float32 in [0, 1].
        batch_size: Images per forward pass.
        keep_maps: Keep the images and the maps of all blocks (large).

    Raises:
        ShapeError: There are no images, or they have another shape than the target takes.
        ModelError: A logit is not finite.
    """
    found: Activations | None = None
    start = 0
    for part in passes(target, images, batch_size=batch_size):
        kept = part if keep_maps else part.vectors_only()
        # Room for all images at once: joining the maps of many batches afterwards would take twice the memory.
        if found is None:
            found = kept.map(lambda value: value.new_empty(len(images) if len(value) else 0, *value.shape[1:]))
        for whole, value in zip(_tensors(found), _tensors(kept), strict=True):
            whole[start : start + len(part)] = value
        start += len(part)
    assert found is not None  # noqa: S101
    return found


def _tensors(part: Activations) -> list[Tensor]:
    return [part.images, part.logits, part.features, *part.maps, *part.moments]
