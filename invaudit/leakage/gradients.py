"""Per-image gradients of a target's log-odds, layer by layer, as products of what enters a layer and what comes back.

The gradient of image i at a linear or convolutional layer is D_i' A_i: A_i (positions, inputs + 1) holds the layer's
inputs with a one for the bias, D_i (positions, outputs) the derivative by its outputs. No N x weights matrix is kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from invaudit.models import Target, frozen_eval
from invaudit.runtime.errors import ModelError, SettingError, ShapeError

Layer = nn.Linear | nn.Conv2d
Score = Callable[[Tensor, Tensor], Tensor]
"""From logits (B, K) and labels (B,) to one number for each image, (B,)."""

AT_ONCE = 256
"""Images of one pass, and rows of the Gram matrix that are filled at once."""

BLOCK = 2**25
"""Values (float64) that a block of explicit gradients may hold: 256 MiB."""


@dataclass(frozen=True)
class Products:
    """All that a least-squares fit of the weights by the gradients of N images needs.

    Attributes:
        gram: (N, N) float64, inner products of the gradients, weighted by layer.
        inner: (N,) float64, inner products of the gradients with the weights.
    """

    gram: Tensor
    inner: Tensor


def log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """Return s = f_y - logsumexp of the other logits, (B,); y f for two classes.

    The cross-entropy is log(1 + exp(-s)): its gradient has the direction of this one, which does not vanish.
    """
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return logits.gather(1, labels[:, None])[:, 0] - others.logsumexp(1)


def layers(target: Target) -> dict[str, Layer]:
    """Return the layers whose weights are read: linear ones, and convolutions without groups."""
    read: dict[str, Layer] = {}
    for name, part in target.module.named_modules():
        if isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1):
            read[name] = part
    return read


def fan_in(layer: Layer) -> int:
    """Return the number of inputs of one unit: the inverse variance of a usual initialisation, up to a factor."""
    return layer.weight[0].numel()


def weights(layer: Layer) -> Tensor:
    """Return the weights of a layer, the bias as last column: (outputs, inputs + 1) float64."""
    matrix = layer.weight.detach().double().flatten(1)
    return matrix if layer.bias is None else torch.cat([matrix, layer.bias.detach().double()[:, None]], 1)


def check_pool(target: Target, images: Tensor, labels: Tensor) -> None:
    """Refuse images or labels that do not fit each other or the target.

    Raises:
        ShapeError: No images, images of another shape than the target takes, or not one label for each.
        SettingError: A label outside [0, classes), or a pixel that is not finite.
    """
    if images.ndim != 4 or not len(images) or images.shape[1:] != target.spec.shape:
        raise ShapeError(
            f"images have shape {tuple(images.shape)}, expected (N, {', '.join(map(str, target.spec.shape))})"
        )
    if tuple(labels.shape) != (len(images),):
        raise ShapeError(f"labels have shape {tuple(labels.shape)}, expected ({len(images)},): one for each image")
    if int(labels.min()) < 0 or int(labels.max()) >= target.classes:
        raise SettingError(
            f"labels from {int(labels.min())} to {int(labels.max())}, expected 0 to {target.classes - 1}: "
            "the classes of the target"
        )
    if not images.isfinite().all():
        raise SettingError("an image holds a pixel that is not finite; expected values in [0, 1]")


def products(
    targets: Sequence[Target], fitted: Mapping[str, Tensor], images: Tensor, labels: Tensor, *, block: int = BLOCK
) -> Products:
    """Return inner products of per-image gradients with each other and with the weights, weighted by fan-in.

    Args:
        targets: Targets of one architecture; the gradients are averaged over them.
        fitted: Layer name -> what is to be fitted, (outputs, inputs + 1) float64.
        images: (N, C, H, W) in [0, 1].
        labels: (N,) int64.
        block: Values of gradients that are held at once.
    """
    n = len(images)
    gram, inner = torch.zeros((n, n), dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for name, matrix in fitted.items():
        scale = fan_in(layers(targets[0])[name])
        outputs, inputs = matrix.shape
        positions = next(signals(targets, name, images[:1], labels[:1]))[0].shape[1]
        if positions**2 * (inputs + outputs) <= inputs * outputs:
            part, product = _from_factors(targets, name, matrix, images, labels)
        else:
            part, product = _from_gradients(targets, name, matrix, images, labels, block)
        gram.add_(part, alpha=scale)
        inner.add_(product, alpha=scale)
    return Products(gram, inner)


def signals(
    targets: Sequence[Target], name: str, images: Tensor, labels: Tensor, score: Score = log_odds
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield A (B, L, inputs + 1) and D (B, L, outputs), float64, of one layer for each batch of images.

    Several targets, and several calls of the layer, are further positions: gradients add up over positions.
    """
    for start in range(0, len(images), AT_ONCE):
        batch = slice(start, start + AT_ONCE)
        inputs, derivatives = [], []
        for target in targets:
            for patches, derivative in _calls(target, name, images[batch], labels[batch], score):
                inputs.append(patches)
                derivatives.append(derivative)
        yield torch.cat(inputs, 1).double().cpu(), torch.cat(derivatives, 1).double().cpu() / len(targets)


def squared_lengths(target: Target, images: Tensor, labels: Tensor, score: Score = log_odds) -> dict[str, Tensor]:
    """Return for each layer the squared length of the gradient of the score at each image, (N,) float64."""
    lengths = {}
    for name, layer in layers(target).items():
        parts = []
        for a, d in signals([target], name, images, labels, score):
            if a.shape[1] ** 2 * (a.shape[2] + d.shape[2]) <= a.shape[2] * d.shape[2]:
                parts.append(((a @ a.mT) * (d @ d.mT)).sum((1, 2)))
                continue
            rows = max(1, BLOCK // (fan_in(layer) * d.shape[2]))
            for some_a, some_d in zip(a.split(rows), d.split(rows), strict=True):
                parts.append((some_d.mT @ some_a).square().sum((1, 2)))
        lengths[name] = torch.cat(parts)
    return lengths


def _calls(target: Target, name: str, images: Tensor, labels: Tensor, score: Score) -> list[tuple[Tensor, Tensor]]:
    layer = layers(target)[name]
    seen: list[tuple[Tensor, Tensor]] = []

    def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        # Copies: what follows may write into them, as nn.ReLU(inplace=True) does.
        seen.append((_patches(layer, inputs[0].detach().clone()), output))
        return output.clone()

    handle = layer.register_forward_hook(hook)
    try:
        with frozen_eval(target), torch.enable_grad():
            inputs = images.to(target.device, target.head.weight.dtype).requires_grad_()
            scores = score(target(inputs), labels.to(target.device))
            if not seen:
                raise ModelError(f"the layer {name!r} is not called as a module, so that its gradients are not seen")
            derivatives = torch.autograd.grad(scores.sum(), [output for _, output in seen])
    finally:
        handle.remove()
    if not torch.isfinite(scores).all():
        raise ModelError("the model gives logits that are not finite; check its weights and the input spec")
    calls = []
    for (patches, _), derivative in zip(seen, derivatives, strict=True):
        calls.append((patches, _positions(layer, derivative)))
    return calls


def _patches(layer: Layer, inputs: Tensor) -> Tensor:
    if isinstance(layer, nn.Conv2d):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = functional.pad(inputs, layer._reversed_padding_repeated_twice, mode)
        rows = functional.unfold(padded, layer.kernel_size, layer.dilation, 0, layer.stride).transpose(1, 2)
    else:
        rows = inputs.reshape(len(inputs), -1, layer.in_features)
    return rows if layer.bias is None else functional.pad(rows, (0, 1), value=1.0)


def _positions(layer: Layer, outputs: Tensor) -> Tensor:
    if isinstance(layer, nn.Conv2d):
        return outputs.flatten(2).transpose(1, 2)
    return outputs.reshape(len(outputs), -1, layer.out_features)


def _from_factors(
    targets: Sequence[Target], name: str, matrix: Tensor, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Few positions: <D'A, E'B> = sum over pairs of positions of (A B') (D E'), without the gradients themselves."""
    inputs, derivatives = zip(*signals(targets, name, images, labels), strict=True)
    a, d = torch.cat(inputs), torch.cat(derivatives)
    gram = torch.zeros((len(a), len(a)), dtype=torch.float64)
    for rows in torch.arange(len(a)).split(AT_ONCE):
        for first in range(a.shape[1]):
            for second in range(a.shape[1]):
                gram[rows] += (a[rows, first] @ a[:, second].T) * (d[rows, first] @ d[:, second].T)
    return gram, ((a @ matrix.T.to(a)) * d).sum((1, 2))


def _from_gradients(
    targets: Sequence[Target], name: str, matrix: Tensor, images: Tensor, labels: Tensor, block: int
) -> tuple[Tensor, Tensor]:
    """Many positions: the gradients themselves, a block of output units at a time, the images passed anew for each."""
    n = len(images)
    gram, inner = torch.zeros((n, n), dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    units = max(1, block // (n * matrix.shape[1]))
    for chosen in torch.arange(len(matrix)).split(units):
        parts = []
        for a, d in signals(targets, name, images, labels):
            parts.append(torch.einsum("nlo,nlk->nok", d[:, :, chosen], a).flatten(1))
        gradients = torch.cat(parts)
        gram.addmm_(gradients, gradients.T)
        inner += gradients @ matrix[chosen].flatten().to(gradients)
    return gram, inner
