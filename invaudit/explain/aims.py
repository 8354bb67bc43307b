"""What somebody who changes an image wants the target to answer, and how far the change went."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from invaudit.models import Target
from invaudit.runtime.errors import SettingError, ShapeError


@dataclass(frozen=True)
class Aim:
    """What the target shall answer to N images: any other output than these, or these.

    Attributes:
        labels: (N,) int64, outputs of the target.
        is_wanted: Whether these outputs are wanted; otherwise any other is, a garbage class, too.
    """

    labels: Tensor
    is_wanted: bool

    def reached(self, logits: Tensor) -> Tensor:
        """Return (N,) bool, whether logits (N, K) are an answer as wanted."""
        return (logits.argmax(1) == self.labels) == self.is_wanted

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Return (N,), lower is nearer to the aim: the cross-entropy of the wanted outputs, or minus that of others."""
        losses = functional.cross_entropy(logits, self.labels, reduction="none")
        return losses if self.is_wanted else -losses

    def margin(self, logits: Tensor) -> Tensor:
        """Return (N,), how far the logits are from the aim: below 0 where it is reached, 0 at the border."""
        is_label = functional.one_hot(self.labels, logits.shape[1]).bool()
        of_label = logits.gather(1, self.labels[:, None])[:, 0]
        gap = of_label - logits.masked_fill(is_label, -torch.inf).amax(1)
        return -gap if self.is_wanted else gap

    def select(self, index: Tensor) -> "Aim":
        """Return the aims of some images."""
        return Aim(self.labels[index], self.is_wanted)

    def to(self, device: torch.device) -> "Aim":
        """Return the aims on a device."""
        return Aim(self.labels.to(device), self.is_wanted)


def checked_aim(target: Target, images: Tensor, labels: Tensor, wanted: Tensor | None) -> Aim:
    """Return the aim away from labels, or towards wanted classes.

    Raises:
        SettingError: A pixel outside [0, 1], or a class outside its range.
        ShapeError: Images and classes do not fit, or there are none.
    """
    check_images(images)
    classes = {"labels": labels} if wanted is None else {"labels": labels, "wanted": wanted}
    for name, values in classes.items():
        if values.shape != (len(images),):
            raise ShapeError(f"{name} has shape {tuple(values.shape)}, expected one class per image, ({len(images)},)")
        lowest, highest = int(values.min()), int(values.max())
        if not 0 <= lowest <= highest < target.classes:
            raise SettingError(f"{name} from {lowest} to {highest}, expected 0 to {target.classes - 1}")
    return Aim(labels, is_wanted=False) if wanted is None else Aim(wanted, is_wanted=True)


def check_images(images: Tensor) -> None:
    """Refuse what is no batch of images in [0, 1].

    Raises:
        SettingError: A pixel outside [0, 1].
        ShapeError: Another shape than (N, C, H, W), or no images.
    """
    if images.ndim != 4 or not len(images):
        raise ShapeError(f"images have shape {tuple(images.shape)}, expected (N, C, H, W) and at least one")
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise SettingError("images hold a pixel outside [0, 1]; scale them, and leave the normalisation to the target")


def euclidean_norms(changes: Tensor) -> Tensor:
    """Return the Euclidean norm (N,) of each of N changes (N, C, H, W)."""
    return torch.linalg.vector_norm(changes.flatten(1), dim=1)


def largest_changes(changes: Tensor) -> Tensor:
    """Return the largest change of a pixel (N,) of each of N changes (N, C, H, W)."""
    return changes.flatten(1).abs().amax(1)
