"""What images every metric takes, said in one place."""

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.runtime.errors import DataError, SettingError, ShapeError


def checked_images(images: Tensor, *, smallest: int, resize: int | None, device: torch.device) -> Tensor:
    """Return images as the metrics take them.

    Args:
        images: (N, 1 or 3, H, W) floats in [0, 1], N >= 1.
        smallest: Smallest side that the metric can compare.
        resize: Side to which the images are resized first (bilinear, antialiased); None leaves them as they are.
        device: Where the metric computes.

    Returns:
        The images, float32, contiguous, on the device.

    Raises:
        DataError: Not floats, NaN, or values outside [0, 1].
        ShapeError: Another shape, or sides that are too small.
        SettingError: ``resize`` is too small.
    """
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] not in (1, 3) or 0 in shape:
        raise ShapeError(f"images have shape {shape}, expected (N, 1 or 3, H, W) with at least one image")
    if not images.is_floating_point():
        raise DataError(f"images are {images.dtype}, expected floats in [0, 1]; divide 8-bit images by 255")
    low, high = map(float, images.aminmax())
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise DataError(f"images lie in [{low:g}, {high:g}], expected [0, 1]; map them there, all by the same rule")
    images = images.to(device, torch.float32).contiguous()
    if resize is not None:
        if resize < smallest:
            raise SettingError(f"resize is {resize}, expected at least {smallest} for this metric")
        return functional.interpolate(images, (resize, resize), mode="bilinear", antialias=True).clamp_(0, 1)
    if min(shape[2:]) < smallest:
        raise ShapeError(
            f"images are {shape[2]} x {shape[3]}, this metric needs sides of at least {smallest}; "
            f"resize them (resize={smallest} or more) or choose another metric"
        )
    return images


def same_shape(shape: torch.Size, expected: torch.Size, name: str, other: str) -> None:
    """Refuse images whose shape (C, H, W) is not that of the others.

    Raises:
        ShapeError: They do not.
    """
    if shape != expected:
        raise ShapeError(
            f"{name} images have shape {tuple(shape)}, {other} {tuple(expected)}; "
            "bring both to the same channels and size"
        )
