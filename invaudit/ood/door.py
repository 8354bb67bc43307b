"""What a guard takes: images given from Python are checked before they reach the network."""

import math

import torch
from torch import Tensor

from invaudit.data import ImageSet, Preparation
from invaudit.models import InputSpec
from invaudit.runtime.errors import DataError, ShapeError

TOLERANCE = 1e-3
"""How far outside [0, 1] a value may lie: what interpolation and rounding leave behind."""
LARGEST_NORMALISED = 16
"""No usual normalisation gives larger values; images from 0 to 255 that hold no larger one are black."""
NEARLY = 0.02
"""How far outside [0, 1] values may lie after a normalisation was undone whose figures were rounded."""


def checked(images: Tensor | ImageSet, spec: InputSpec) -> Tensor | ImageSet:
    """Return images as a network of this spec takes them, floats of any width as float32.

    Image sets hold 8-bit values, so only their shape is looked at.

    Args:
        images: An image set, or (N, C, H, W) floats in [0, 1].
        spec: What the network takes.

    Raises:
        ShapeError: Another rank, number of channels or size, or no images.
        DataError: Pictures that were prepared in another way than the spec's; no floats, values that are not finite,
            or values outside [0, 1] (0 to 255, or normalised). Each message has the line that converts them.
    """
    if isinstance(images, ImageSet):
        if images.shape != spec.shape:
            raise ShapeError(
                f"{images.name} holds images of shape {images.shape}, the network takes {spec.shape} "
                "(channels, height, width); resize them as the training images were"
            )
        if images.preparation not in (None, spec.preparation or Preparation()):
            raise DataError(
                f"the pictures of {images.name} were prepared in another way than those that the guard was fitted to; "
                "load them with wanted=guard.target.spec.pictures"
            )
        return images
    if not isinstance(images, Tensor):
        got = f"{type(images).__module__}.{type(images).__qualname__}"
        raise DataError(f"images is a {got}, expected a tensor; pass torch.as_tensor(images)")
    shape = tuple(images.shape)
    if shape[1:] != spec.shape or not len(images):
        raise ShapeError(f"images has shape {shape}, expected {('N', *spec.shape)}{_reshaping(shape, spec)}")
    if not images.is_floating_point():
        largest = 65_535 if images.dtype == torch.uint16 else 255
        raise DataError(f"images holds {images.dtype}, expected floats in [0, 1]; pass images.float() / {largest}")
    _check_range(images, spec)
    return images.float()


def _reshaping(shape: tuple[int, ...], spec: InputSpec) -> str:
    """Return the line that makes images of this shape fit, where there is one, with a semicolon before it."""
    channels, height, width = spec.shape
    if 0 in shape:
        return ": there are none; pass at least one image"
    if shape == spec.shape:
        return "; for one image pass images[None]"
    if shape == (height, width, channels):
        return "; for one image pass images.permute(2, 0, 1)[None]"
    if channels == 1 and shape[-2:] == (height, width) and len(shape) < 4:
        return "; pass images.reshape(-1, 1, *images.shape[-2:])"
    if len(shape) != 4:
        return ""
    if shape[1:] == (height, width, channels):
        return "; pass images.permute(0, 3, 1, 2)"
    if shape[2:] != (height, width):
        return "; resize them as the training images were"
    if shape[1] == 1:
        return f"; for grey images pass images.expand(-1, {channels}, -1, -1)"
    if shape[1] == 4 and channels == 3:
        return "; without their transparency, pass images[:, :3]"
    return "; pass torchvision.transforms.functional.rgb_to_grayscale(images)" if channels == 1 else ""


def _check_range(images: Tensor, spec: InputSpec) -> None:
    low, high = map(float, images.aminmax())
    if not math.isfinite(low) or not math.isfinite(high):
        place = int((~images.isfinite()).flatten(1).any(1).nonzero()[0, 0])
        raise DataError(f"image {place} holds NaN or infinity, expected values in [0, 1]; see how it was made")
    if low >= -TOLERANCE and high <= 1 + TOLERANCE:
        return
    got = f"images holds values from {low:.3g} to {high:.3g}, expected [0, 1]"
    if low >= -TOLERANCE and high > LARGEST_NORMALISED:
        raise DataError(f"{got}; pass images / 255")
    raise DataError(
        f"{got}: the guard normalises by itself; pass {_denormalising(images, spec)} for normalised images, "
        "images.clamp(0, 1) for what an interpolation has left outside"
    )


def _denormalising(images: Tensor, spec: InputSpec) -> str:
    """Return the line that undoes the likeliest normalisation: the one after whose removal [0, 1] is filled best."""
    # Here, since it loads what a refusal alone needs.
    from invaudit.models.suitability import NORMALISATIONS

    best, filled = "images * std + mean, by the values that they were normalised with,", 0.0
    for mean, std in ((spec.mean, spec.std), *NORMALISATIONS[spec.channels].values()):
        if not any(mean):
            continue  # it would leave no value below 0
        undone = images * _column(std, images) + _column(mean, images)
        low, high = map(float, undone.aminmax())
        inside = min(high, 1) - max(low, 0) - max(-low, 0) - max(high - 1, 0)
        if low >= -NEARLY and high <= 1 + NEARLY and inside > filled:
            filled = inside
            best = f"images * torch.tensor({[*std]}).view(1, -1, 1, 1) + torch.tensor({[*mean]}).view(1, -1, 1, 1)"
    return best


def _column(values: tuple[float, ...], images: Tensor) -> Tensor:
    return torch.tensor(values, device=images.device).view(1, -1, 1, 1)
