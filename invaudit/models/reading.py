"""Reading a target: every image passes through it once, batch by batch."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from invaudit.data import ImageSet
from invaudit.models.activations import Activations
from invaudit.models.target import Target, frozen_eval
from invaudit.runtime.errors import ModelError, ShapeError


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
    batches = images.batches(batch_size) if isinstance(images, ImageSet) else images.split(batch_size)
    for batch in batches:
        with frozen_eval(target), torch.no_grad():
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
    activations: Activations | None = None
    start = 0
    for batch in passes(target, images, batch_size=batch_size):
        part = batch if keep_maps else batch.vectors_only()
        # Room for all images at once: joining the maps of many batches afterwards would take twice the memory.
        if activations is None:
            activations = part.map(lambda value: value.new_empty(len(images) if len(value) else 0, *value.shape[1:]))
        for whole, values in zip(activations.tensors(), part.tensors(), strict=True):
            whole[start : start + len(batch)] = values
        start += len(batch)
    assert activations is not None  # noqa: S101 - there is at least one batch
    return activations
