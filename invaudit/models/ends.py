"""What a network ends with: how its last layer becomes logits, and what is refused at the door."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from invaudit.models.foreign import called, foreign_code
from invaudit.models.layers import watch_pass
from invaudit.runtime.boundary import is_interruption
from invaudit.runtime.errors import ModelError

ENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda logits: logits,
    "log-softmax": lambda logits: logits.log_softmax(1),
    "softmax": lambda logits: logits.softmax(1),
}
"""What a network may make of its logits: name -> function of (B, K)."""
ONE_LOGIT_ENDS: dict[str, Callable[[Tensor], Tensor]] = {"": lambda logit: logit, "sigmoid": torch.sigmoid}
"""The same of one logit (B, 1)."""
TOLERANCE = {"rtol": 1e-3, "atol": 1e-5}
"""Of one value of a network computed in two ways."""
WRAPPER = "wrap a model that ends with one: a module whose forward returns what that layer gives"


class LastLayer(nn.Module):
    """A network whose logits are what its last linear layer gives, whatever it makes of them afterwards.

    Args:
        network: The network.
        layer: Name of the layer.
        pooled: The layer is a 1 x 1 convolution whose output is averaged over positions. It is replaced by a linear
            layer on the averaged maps, which gives the same.
    """

    def __init__(self, network: nn.Module, layer: str, *, pooled: bool) -> None:
        super().__init__()
        self.layer, self.pooled = layer, pooled
        if pooled:
            convolution = network.get_submodule(layer)
            assert isinstance(convolution, nn.Conv2d)  # noqa: S101 - whoever says pooled has seen it
            network.set_submodule(layer, _PooledLinear(convolution))
        self.network = network

    @property
    def head(self) -> str:
        """Name of the linear layer."""
        return f"network.{self.layer}.linear" if self.pooled else f"network.{self.layer}"

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits (B, K)."""
        given: list[Tensor] = []
        layer = self.get_submodule(self.head)

        def keep(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            given.append(output)

        handle = layer.register_forward_hook(keep)
        try:
            self.network(inputs)
        finally:
            handle.remove()
        return given[-1]


class _PooledLinear(nn.Module):
    """A 1 x 1 convolution whose output is averaged over positions: the average may as well be taken before it."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        weight, bias = convolution.weight, convolution.bias
        self.linear = nn.Linear(
            weight.shape[1], weight.shape[0], bias=bias is not None, device=weight.device, dtype=weight.dtype
        )
        self.linear.weight = nn.Parameter(weight.detach().flatten(1).clone())
        if bias is not None:
            self.linear.bias = nn.Parameter(bias.detach().clone())

    def forward(self, maps: Tensor) -> Tensor:
        averaged = self.linear(maps.mean((2, 3)))
        # As many positions as before: what follows may average over a window of that size.
        return averaged[:, :, None, None].expand(-1, -1, *maps.shape[2:])


class Reading(NamedTuple):
    """How logits are read from a network.

    Attributes:
        layer: Name of the layer that gives them.
        end: What the network makes of them, a key of ``ENDS``.
        output: Name of its output, where there are several.
        pooled: The layer is a 1 x 1 convolution whose output is averaged.
        one_logit: There is one logit, of class 1 against class 0.
        as_they_are: The network gives the logits and nothing else, so that nothing has to be changed.
    """

    layer: str
    end: str
    output: str
    pooled: bool
    one_logit: bool
    as_they_are: bool

    def notes(self) -> list[str]:
        """Return what a user should know of it."""
        notes = []
        if self.output:
            notes.append(f"of the network's outputs, {self.output} is taken")
        if self.end:
            notes.append(f"the network ends with {self.end}; the output of its layer {self.layer} is taken as logits")
        if self.one_logit:
            notes.append("the network has one output z: taken as two classes with the logits (0, z)")
        return notes


def find_reading(module: nn.Module, inputs: Tensor, output: str | None = None) -> Reading:
    """Find the layer whose output are the logits, by putting other numbers in its place.

    Args:
        module: The network, in eval mode.
        inputs: (B, C, H, W), normalised.
        output: Name of the output that holds the logits (or what the network makes of them), where it has several:
            a key, an attribute, or a number from 0.

    Raises:
        ModelError: No layer can be found, the output is not named though there are several, or the network answers
            differently each time.
    """
    answer = _steady_answer(module, inputs)
    outputs = _outputs(answer, len(inputs))
    if output is not None and output not in outputs:
        raise ModelError(f"--output {output!r}: the network has no such output; it has {_listed(outputs)}")
    named = outputs if output is None else {output: outputs[output]}
    if output is None and "logits" in outputs:
        named = {"logits": outputs["logits"]}
    layers = _possible_layers(module, inputs)
    found = []
    for name, value in named.items():
        for layer in layers:
            reading = _reading(module, inputs, name, value, layer, alone=isinstance(answer, Tensor))
            if reading:
                found.append(reading)
                break
    if not found:
        raise ModelError(
            "the output of the model is not that of a linear layer (nn.Linear, or a 1 x 1 convolution that is "
            f"averaged), nor its softmax; {WRAPPER}"
        )
    if len(found) > 1:
        raise ModelError(
            f"the network has several outputs that may be logits, {_listed(outputs)}; name one: --output NAME"
        )
    return found[0]


def adapted(module: nn.Module, reading: Reading) -> tuple[nn.Module, str]:
    """Return the network that gives logits (B, K) and nothing else, and the name of its linear head.

    A network that does so already is given back as it is; of any other a copy is made.
    """
    if reading.as_they_are:
        return module, reading.layer
    network = LastLayer(deepcopy(module), reading.layer, pooled=reading.pooled)
    if reading.one_logit:
        _widen_to_two(network, network.head)
    return network.train(module.training), network.head


def _widen_to_two(network: nn.Module, head: str) -> None:
    """Give a head with one output z two of them, 0 and z."""
    old = network.get_submodule(head)
    assert isinstance(old, nn.Linear)  # noqa: S101 - what is found is linear
    weight, bias = old.weight.detach(), old.bias
    new = nn.Linear(old.in_features, 2, bias=bias is not None, device=weight.device, dtype=weight.dtype)
    new.weight = nn.Parameter(torch.cat([torch.zeros_like(weight), weight]))
    if bias is not None:
        new.bias = nn.Parameter(torch.cat([torch.zeros_like(bias.detach()), bias.detach()]))
    network.set_submodule(head, new)


def _steady_answer(module: nn.Module, inputs: Tensor) -> Any:
    """Return what the network gives, having asked it three times."""
    answers = []
    for given in (inputs, inputs, inputs[:1].expand_as(inputs).contiguous()):
        with foreign_code(called(module, inputs), remedy="correct it, or what says its input"):
            answers.append(module(given.clone()))  # it may work on it in place
        if any(part.training for part in module.modules()):
            raise ModelError(f"{type(module).__name__} leaves eval mode when it is called; take train() out of forward")
    first, again, beside = [_outputs(answer, len(inputs)) for answer in answers]
    if first.keys() != again.keys() or any(not _alike(first[name], again[name]) for name in first):
        raise ModelError(
            f"{type(module).__name__} answers the same images differently each time: something random stays on in "
            "eval mode; dropout needs training=self.training"
        )
    if first.keys() != beside.keys() or any(not _alike(first[name][:1], beside[name][:1]) for name in first):
        raise ModelError(
            f"{type(module).__name__} answers an image differently beside other images: statistics of the batch stay "
            "on in eval mode; batch norm needs track_running_stats=True"
        )
    return answers[0]


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other.to(one), **TOLERANCE, equal_nan=True)


def _outputs(answer: Any, n: int) -> dict[str, Tensor]:
    """Return what a network gives for each of n images, by name.

    The names are keys, names of fields, or numbers from 0; a tensor alone has none. What is not of each image, such as
    a loss, is left out.
    """
    if isinstance(answer, Tensor):
        named = {"": answer}
    elif isinstance(answer, Mapping):
        named = {str(name): value for name, value in answer.items()}
    elif isinstance(answer, tuple | list):
        names = getattr(answer, "_fields", range(len(answer)))
        named = {str(name): value for name, value in zip(names, answer, strict=True)}
    else:
        named = getattr(answer, "__dict__", {})
    tensors = {name: value for name, value in named.items() if _is_of_each(value, n)}
    if not tensors:
        raise ModelError(f"the network gives {_described(answer)} for {n} images, and no numbers of each; {WRAPPER}")
    return tensors


def _is_of_each(value: Any, n: int) -> bool:
    is_plain = isinstance(value, Tensor) and value.is_floating_point() and value.layout == torch.strided
    return is_plain and value.shape[:1] == (n,)


def _described(answer: Any) -> str:
    if isinstance(answer, Tensor):
        return f"a tensor of {answer.dtype} and shape {tuple(answer.shape)}"
    return type(answer).__name__


def _listed(outputs: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name or 'one without a name'} {tuple(value.shape)}" for name, value in outputs.items())


class _Layer(NamedTuple):
    """A linear layer that is called, and the shape of what it gives."""

    name: str
    pooled: bool
    shape: tuple[int, ...]


def _possible_layers(module: nn.Module, inputs: Tensor) -> list[_Layer]:
    """Return the layers that may give the logits, the last called first."""
    called_layers: list[_Layer] = []

    def record(name: str, part: nn.Module, given: Any, output: Any) -> None:
        if not (isinstance(given, Tensor) and isinstance(output, Tensor)):
            return
        pooled = isinstance(part, nn.Conv2d)
        if output.ndim == (4 if pooled else 2) and (pooled or _is_linear(part, given, output)):
            called_layers.append(_Layer(name, pooled, tuple(output.shape)))

    parts: dict[str, nn.Module] = {}
    for name, part in module.named_modules():
        if not name:
            continue  # a layer alone is no network
        if isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and _looks_at_one_position(part)):
            parts[name] = part
    watch_pass(module, inputs, parts, record)
    return called_layers[::-1]


def _is_linear(part: nn.Module, given: Tensor, output: Tensor) -> bool:
    """Whether a layer does what its class promises: some normalise their weights on the way."""
    if not isinstance(part, nn.Linear):
        return False
    return _alike(functional.linear(given, part.weight, part.bias), output)


def _looks_at_one_position(part: nn.Conv2d) -> bool:
    return (part.kernel_size, part.stride, part.padding, part.groups) == ((1, 1), (1, 1), (0, 0), 1)


def _reading(
    module: nn.Module, inputs: Tensor, name: str, value: Tensor, layer: _Layer, *, alone: bool
) -> Reading | None:
    """Return how an output of the network is read from a layer, or None where it is not a function of it alone."""
    n, outputs = layer.shape[:2]
    if value.numel() != n * outputs:
        return None
    random = torch.randn(layer.shape, generator=torch.Generator().manual_seed(0)).to(inputs)
    # A copy, since what follows may work in place (ReLU).
    handle = module.get_submodule(layer.name).register_forward_hook(lambda *_: random.clone())
    try:
        changed = _outputs(module(inputs.clone()), n).get(name)
    except Exception as error:  # a network that looks at its own logits may fail on random ones
        if is_interruption(error):
            raise
        return None
    finally:
        handle.remove()
    if changed is None or changed.numel() != value.numel():
        return None
    logits = random.mean((2, 3)) if layer.pooled else random
    for end, function in (ONE_LOGIT_ENDS if outputs == 1 else ENDS).items():
        if _alike(function(logits), changed.reshape(n, outputs)):
            plain = alone and not end and not layer.pooled and outputs > 1
            plain = plain and value.ndim == 2 and value.dtype == inputs.dtype
            return Reading(layer.name, end, name, layer.pooled, outputs == 1, as_they_are=plain)
    return None
