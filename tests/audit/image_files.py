"""Image files that audits read, made of the digits."""

import numpy as np
import torch

from invaudit.data import seeded_rng
from invaudit.data.digits import digits


def save(path, images, labels=None):
    """Save float images in eight bits, as users have them."""
    arrays = {"images": (images * 255).round().byte().numpy()} | ({} if labels is None else {"labels": labels.numpy()})
    np.savez(path, **arrays)


def save_digits(folder, stage, parts):
    """Save the digits of each part, name -> slice, as NAME.npz, and return all digits in the order of the slices.

    The order is random: in the data's own order the digits are sorted by writer.
    """
    data = digits()
    data = data.subset(torch.randperm(len(data), generator=seeded_rng(0, stage)))
    for name, part in parts.items():
        save(folder / f"{name}.npz", data.floats(part), data.labels[part])
    return data
