"""The target: a classifier with its input spec, and the layers of it that are read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from invaudit.models.activations import Activations, moments
from invaudit.models.architectures import Classifier
from invaudit.models.ends import adapted, find_reading
from invaudit.models.foreign import called, foreign_code, tensors_of
from invaudit.models.layers import Layers, find_blocks
from invaudit.models.spec import InputSpec
from invaudit.runtime.errors import ModelError, ShapeError
from invaudit.runtime.files import content_hash


class Target(nn.Module):
    """A classifier that is inverted, guarded or audited.

    Args:
        module: Any classifier of normalised images whose last layer is linear. Where it gives something else than
            logits (B, K), a copy of it that gives them takes its place; what is taken stands in ``notes``.
        spec: What it takes.
        classes: Number of ID classes; a module with one output more has a garbage class, the last. None: all outputs.
        layers: Names of the linear head and of the blocks; found by forward passes where not given.
        arch: Name by which ``load_model`` can build the module again.
        output: Name of the output that holds the logits, where the module has several.

    Attributes:
        notes: What a user should know of how the network was read.
        class_names: A name for each class, where they are known.
        settings: What the architecture is built with beside its name.

    Raises:
        ModelError: No linear layer gives the logits, the number of outputs does not fit, or the module does not answer
            the same images in the same way.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        module: nn.Module,
        spec: InputSpec,
        classes: int | None = None,
        *,
        layers: Layers | None = None,
        arch: str | None = None,
        output: str | None = None,
    ) -> None:
        super().__init__()
        first_parameter = next(module.parameters(), None)
        device = None if first_parameter is None else first_parameter.device
        for name, values in (("mean", spec.mean), ("std", spec.std)):
            self.register_buffer(name, torch.tensor(values, device=device).view(1, -1, 1, 1), persistent=False)
        self._gives_gradients = False
        self.notes: list[str] = []
        self.class_names: tuple[str, ...] = ()
        self.settings: dict[str, Any] | None = None
        self.spec, self.arch, self.module = spec, arch, module
        self.layers = layers or self._read(output)
        self.outputs = self.head.out_features
        self.classes = self.outputs if classes is None else classes
        if self.classes < 2 or self.outputs not in (self.classes, self.classes + 1):
            raise ModelError(
                f"the model has {self.outputs} outputs, expected {self.classes} classes (2 at least), or one more with "
                "garbage"
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
        for name, value in tensors_of(self.module).items():
            parts += [name, value.detach().cpu().contiguous().numpy().tobytes()]
        return content_hash(*parts)

    def normalise(self, images: Tensor) -> Tensor:
        """Return images in [0, 1], (B, C, H, W), as the module takes them."""
        if images.shape[1:] != self.spec.shape:
            raise ShapeError(
                f"images have shape {tuple(images.shape[1:])}, the model takes {self.spec.shape}; resize them"
            )
        normalised = (images - self.mean) / self.std
        # Our generators give channels_last images, on which our networks are fast; networks of others may use view().
        return normalised if isinstance(self.module, Classifier) else normalised.contiguous()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K) of images (B, C, H, W) in [0, 1].

        Raises:
            ShapeError: The images have another shape.
            ModelError: The network is code of others that fails, or that lets no gradient through where one is wanted.
        """
        inputs = self.normalise(images)
        if isinstance(self.module, Classifier):
            return self.module(inputs)
        with foreign_code(called(self.module, inputs)):
            logits = self.module(inputs)
        if torch.is_grad_enabled() and inputs.requires_grad and not self._gives_gradients:
            self._try_gradient(inputs, logits)
        return logits

    def _try_gradient(self, inputs: Tensor, logits: Tensor) -> None:
        """Refuse a network that gives none, the first time that one is wanted: later it would look like our fault."""
        if not logits.requires_grad:
            raise ModelError(
                f"{type(self.module).__name__} lets no gradient through from its logits to the images; "
                "take no_grad() and detach() out of forward"
            )
        with foreign_code(f"the gradient of {called(self.module, inputs)}"):
            torch.autograd.grad(logits.sum(), inputs, retain_graph=True)
        self._gives_gradients = True

    def activations(self, images: Tensor) -> Activations:
        """Return everything of one forward pass over images (B, C, H, W) in [0, 1]; differentiable."""
        with self.layers.recorded(self.module) as seen:
            logits = self.forward(images)
        features = seen[self.layers.head]
        blocks = [seen[name] for name in self.layers.blocks]
        maps = [block for block in blocks if block.ndim == 4]
        return Activations(images, logits, features, tuple(maps), tuple(map(moments, blocks or [features])))

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
        return self.with_module(module, min(self.classes, n)).train(self.training)

    def of_classes(self, chosen: Sequence[int]) -> "Target":
        """Return a copy that knows some classes only: their logits come first, the others are outputs beside them.

        Probabilities stay what they were, so that the rest of a network of a thousand classes still counts.

        Args:
            chosen: Numbers of the classes, none twice, two at least.
        """
        others = [output for output in range(self.outputs) if output not in set(chosen)]
        order = torch.tensor([*chosen, *others], device=self.device)
        module = deepcopy(self.module)
        head = module.get_submodule(self.layers.head)
        for values in head.parameters():
            values.data = values.data[order].clone()
        target = self.with_module(module, self.outputs).train(self.training)
        target.classes = len(chosen)
        target.class_names = tuple(self.class_names[label] for label in chosen) if self.class_names else ()
        return target

    def with_module(self, module: nn.Module, classes: int) -> "Target":
        """Return a target of another module with the same layers, that keeps what is known of this one."""
        target = Target(module, self.spec, classes, layers=self.layers, arch=self.arch)
        target.notes, target.settings = list(self.notes), self.settings
        target.class_names = self.class_names if classes == self.classes else ()
        return target

    def _read(self, output: str | None) -> Layers:
        """Find out how the module gives logits, and which layers are read; see ``find_reading``."""
        if isinstance(self.module, Classifier):
            return Layers("head", tuple(f"blocks.{i}" for i in range(len(self.module.blocks))))
        others = {value.dtype for value in self.module.parameters() if value.is_floating_point()} - {torch.float32}
        if others:
            raise ModelError(f"the network computes in {others.pop()}; give it in float32: network.float()")
        with frozen_eval(self), torch.no_grad():
            size = 2 * self.spec.channels * self.spec.height * self.spec.width
            images = torch.linspace(0, 1, size, device=self.mean.device)
            inputs = self.normalise(images.view(2, *self.spec.shape))
            reading = find_reading(self.module, inputs, output)
        self.module, head = adapted(self.module, reading)
        self.notes += reading.notes()
        with frozen_eval(self), torch.no_grad():
            return Layers(head, find_blocks(self.module, inputs))


@contextmanager
def frozen_eval(module: nn.Module) -> Iterator[None]:
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
