"""The stages of an explanation: each returns its record, and the arrays behind it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch

from invaudit.data.image_set import evenly_spread
from invaudit.explain.border_stage import borders
from invaudit.explain.figures import figure
from invaudit.explain.fooling import adversarial
from invaudit.explain.mask_stage import masks
from invaudit.explain.measures import measure_inversions
from invaudit.explain.work import Work
from invaudit.models import collect
from invaudit.records.explain import (
    ADVERSARIAL,
    BORDERS,
    INVERSION,
    MASKS,
    MEASURES,
    NEAREST,
    AdversarialRecord,
    BordersRecord,
    InversionRecord,
    MasksRecord,
    MeasureRow,
    MeasuresRecord,
    NearestRecord,
    StageRecord,
)
from invaudit.similarity import nearest as nearest_images

MOST_OF_CLASS = 1_000
"""Real images of a class among which the nearest is looked for, evenly spread."""
METRIC = "ssim"

Arrays = dict[str, np.ndarray]
"""Arrays of a stage by name."""


def inversion(work: Work) -> tuple[InversionRecord, Arrays]:
    """Search for images of each class, and draw the gallery."""
    found = work.inversion
    record = InversionRecord(by=work.settings.by, outcome=found.outcome, message=found.message, accuracy=())
    if found.outcome == "diverged":
        return record.model_copy(update={"status": "failed", "reason": found.message}), {}
    images, labels = work.inversions(work.settings.measured, "measured")
    is_right = collect(work.target, images, keep_maps=False).logits.argmax(1) == labels
    accuracy = tuple(is_right.view(work.target.classes, -1).double().mean(1).tolist())
    return record.model_copy(update={"accuracy": accuracy}), {"images": work.gallery().numpy()}


def nearest(work: Work) -> tuple[NearestRecord, Arrays]:
    """Look for the real image of the class that is most similar to each inversion of the gallery."""
    real = work.needs_real()
    gallery = work.gallery()
    index = np.full(gallery.shape[:2], -1, np.int64)
    similarity: list[float | None] = []
    for label, inversions in enumerate(gallery):
        of_class = (real.labels == label).nonzero()[:, 0]
        if not len(of_class):
            similarity.append(None)
            continue
        of_class = of_class[evenly_spread(len(of_class), MOST_OF_CLASS)]
        found = nearest_images(inversions.float() / 255, real.floats(of_class), METRIC)
        index[label] = of_class[found.index[:, 0]].numpy()
        similarity.append(float(found.value[:, 0].mean()))
    images = np.zeros(gallery.shape, np.uint8)
    is_known = index >= 0
    images[is_known] = real.subset(torch.from_numpy(index[is_known])).images.numpy()
    without = [str(label) for label, value in enumerate(similarity) if value is None]
    reason = f"no real images of class {', '.join(without)}" if without else None
    return NearestRecord(metric=METRIC, similarity=tuple(similarity), reason=reason), {"images": images, "index": index}


def measures(work: Work) -> tuple[MeasuresRecord, Arrays]:
    """Measure inversions, beside real images where there are some."""
    images, labels = work.inversions(work.settings.measured, "measured")
    rng = np.random.default_rng([work.seed, 31])
    found = measure_inversions(images, labels, work.target, rng, second=work.second_network, real=work.real)
    rows = []
    for one in found:
        rows.append(MeasureRow(name=one.name, label=one.label, figure=figure(one.estimate), reason=one.reason or None))
    return MeasuresRecord(measures=tuple(rows)), {}


class Stage(NamedTuple):
    """A stage: what it does, the class of its record, and its title for progress."""

    make: Callable[[Work], tuple[StageRecord, Arrays]]
    kind: type[StageRecord]
    label: str
    may_fail: bool = True


STAGES: Mapping[str, Stage] = {
    INVERSION: Stage(inversion, InversionRecord, "what each class looks like to the network", may_fail=False),
    NEAREST: Stage(nearest, NearestRecord, "the nearest real images"),
    MEASURES: Stage(measures, MeasuresRecord, "figures of the inversions"),
    BORDERS: Stage(borders, BordersRecord, "which classes touch"),
    ADVERSARIAL: Stage(adversarial, AdversarialRecord, "what fools the network"),
    MASKS: Stage(masks, MasksRecord, "what decisions rest on"),
}
