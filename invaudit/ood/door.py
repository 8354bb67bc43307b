"""What a guarded classifier takes, checked where images come in: a wrong range would be scored without a word."""

from typing import Any

import torch
from torch import Tensor

from invaudit.data import ImageSet
from invaudit.runtime.errors import DataError, ShapeError

TAKEN = "expected a tensor (N, C, H, W) of float32 in [0, 1]"


def check_images(images: Any, shape: tuple[int, int, int]) -> None:
    """Refuse images that a network of this input shape does not take, with the line that converts them.

    Args:
        images: (N, C, H, W) float32 in [0, 1], or an image set.
        shape: (C, H, W).

    Raises:
        DataError: No tensor, another type, or values outside [0, 1].
        ShapeError: Another shape, or no images.
    """
    if isinstance(images, ImageSet):
        return
    if not isinstance(images, Tensor):
        remedy = "write torch.as_tensor(images)"
        raise DataError(f"images are a {type(images).__module__}.{type(images).__name__}, {TAKEN}; {remedy}")
    if images.ndim != 4 or tuple(images.shape[1:]) != shape or not len(images):
        raise ShapeError(f"images have shape {tuple(images.shape)}, expected (N, {', '.join(map(str, shape))}), N >= 1")
    if images.dtype != torch.float32:
        remedy = "write images.float() / 255" if images.dtype == torch.uint8 else "write images.float()"
        raise DataError(f"images are {images.dtype}, {TAKEN}; {remedy}")
    low, high = map(float, images.aminmax())
    if low >= 0 and high <= 1:  # NaN is neither
        return
    remedy = "look for NaN and infinity in them"
    if low < 0:
        remedy = "they look normalised, which the guard does itself: write images * std + mean"
    elif high > 1:
        remedy = "write images / 255"
    raise DataError(f"images lie in [{low:g}, {high:g}], {TAKEN}; {remedy}")
