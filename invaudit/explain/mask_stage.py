"""The stage of an explanation that asks what decisions on single images rest on."""

import numpy as np
from torch import Tensor

from invaudit.data.image_set import eight_bits
from invaudit.explain.masks import curves, find_masks, input_gradients, random_order
from invaudit.explain.work import Work
from invaudit.models import collect
from invaudit.records.explain import MaskRow, MasksRecord
from invaudit.runtime.errors import DataError

ORDERS = ("mask", "gradient", "random")
"""What says which pixels matter: the mask, input gradients, and an order by chance, which says nothing."""


def masks(work: Work) -> tuple[MasksRecord, dict[str, np.ndarray]]:
    """Look for the smallest part of some images that keeps the decision, and compare it with input gradients."""
    images, names = _images(work)
    target, settings = work.target, work.settings.masks
    found = find_masks(target, images, settings)
    orders = dict(
        zip(ORDERS, (found.importance, input_gradients(target, images), random_order(images, work.seed)), strict=True)
    )
    drawn = {name: curves(target, images, importance, settings) for name, importance in orders.items()}
    p_image = collect(target, images, keep_maps=False).logits.softmax(1).gather(1, found.labels[:, None])[:, 0]
    rows = []
    for place, name in enumerate(names):
        areas = {}
        for order, curve in drawn.items():
            areas[f"{order}_deletion"] = float(curve.deletion_area[place].clamp(0, 1))
            areas[f"{order}_insertion"] = float(curve.insertion_area[place].clamp(0, 1))
        rows.append(
            MaskRow(
                image=name,
                label=int(found.labels[place]),
                p_image=float(p_image[place].clamp(0, 1)),
                kept=float(found.area[place]),
                p_kept=float(found.probability[place].clamp(0, 1)),
                **areas,
            )
        )
    arrays = {
        "images": eight_bits(images).numpy(),
        "importance": found.importance.numpy(),
        "kept": found.kept.numpy(),
        "shares": drawn["mask"].shares.numpy(),
    }
    for order, curve in drawn.items():
        arrays |= {f"{order}-deletion": curve.deletion.numpy(), f"{order}-insertion": curve.insertion.numpy()}
    return MasksRecord(masks=tuple(rows)), arrays


def _images(work: Work) -> tuple[Tensor, list[str]]:
    """Return the images that were named, else the first ones of the data, and what to call each."""
    if work.photos is not None:
        chosen = work.photos
    elif work.real is None:
        raise DataError("no image was named (--image), and no real images were given (--data)")
    elif not work.settings.masked:
        raise DataError("masked is 0: none were asked for")
    else:
        chosen = work.real.subset(slice(0, work.settings.masked))
    names = [chosen.file(place) or f"{chosen.name}, image {place}" for place in range(len(chosen))]
    return chosen.floats(), names
