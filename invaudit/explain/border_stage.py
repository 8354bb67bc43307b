"""The stage of an explanation that looks for the borders of classes."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from invaudit.explain.atlas import Atlas, Confusion, atlas_of, confusion_of, pairs_to_try
from invaudit.explain.attacks import attack
from invaudit.explain.border_paths import generator_borders
from invaudit.explain.border_pixels import pixel_borders
from invaudit.explain.borders import Border, Borders
from invaudit.explain.planes import plane_through
from invaudit.explain.work import Work
from invaudit.inversion import Inversion
from invaudit.models import Target
from invaudit.records.explain import BorderRow, BordersRecord, PairRow
from invaudit.runtime.errors import SettingError

ATTACK = "ddn"
"""The minimal-norm attack that distances are compared with: the quickest one of its kind."""


def borders(work: Work) -> tuple[BordersRecord, dict[str, np.ndarray]]:
    """Look for images between classes, by pixels from one image of each class, and by the generator if there is one."""
    record, by_pixels = borders_by_pixels(work)
    searches = [by_pixels]
    if isinstance(work.inversion, Inversion):
        pairs, rng = tuple(row.pair for row in by_pixels.rows), work.rng("generator-borders")
        searches.append(
            generator_borders(work.target, work.inversion, pairs, rng, work.settings.generator_borders,
                              attack=attacked, second=work.second_network)
        )  # fmt: skip
    rows: list[BorderRow] = []
    arrays: dict[str, np.ndarray] = {}
    for found in searches:
        rows += [_row(found, row) for row in found.rows]
        arrays |= {f"{found.by}-starts": found.starts, f"{found.by}-images": found.images}
        if found.goals is not None:
            arrays[f"{found.by}-goals"] = found.goals
    planes, of_planes = _planes(work, by_pixels)
    return record.model_copy(update={"borders": tuple(rows), "planes": planes}), arrays | of_planes


def borders_by_pixels(work: Work) -> tuple[BordersRecord, Borders]:
    """Look for images between classes by pixels, from one image of each class; return the atlas, and the images."""
    target = work.target
    starts, kind = _starts(work)
    confusion = None if work.real is None else confusion_of(target, work.real.floats(), work.real.labels)
    seen = confusion or confusion_of(target, *work.inversions(work.settings.images, "confusion"))
    pairs = pairs_to_try(target.classes, confusion=seen)
    first, other = torch.tensor(pairs).T
    found = pixel_borders(
        target,
        pairs,
        starts[first],
        work.settings.borders,
        goals=starts[other],
        attack=attacked,
        second=work.second_network,
    )
    atlas = atlas_of(found, target.classes, confusion)
    rows = tuple(_row(found, row) for row in found.rows)
    return BordersRecord(attack=ATTACK, starts=kind, borders=rows, pairs=tuple(_pairs(atlas, confusion))), found


def _starts(work: Work) -> tuple[Tensor, Literal["real", "inversions"]]:
    """Return an image of each class (n, C, H, W) that the network gives this class, and whether they are real."""
    if work.real is not None:
        right = work.rightly_answered()
        first = [right[work.real.labels[right] == label][:1] for label in work.classes]
        if all(map(len, first)):
            return work.real.floats(torch.cat(first)), "real"
    images, labels = work.inversions(work.settings.images, "starts")
    of_each = torch.tensor([int((labels == label).nonzero()[0, 0]) for label in work.classes])
    return images[of_each], "inversions"


def attacked(target: Target, images: Tensor, labels: Tensor) -> Tensor:
    """Return images that leave their classes; one that is of none of them stays, which counts as a failure."""
    is_known = (labels < target.classes).cpu()
    moved = images.cpu().clone()
    if bool(is_known.any()):
        moved[is_known] = attack(target, moved[is_known], labels.cpu()[is_known], ATTACK).images
    return moved


def _row(found: Borders, row: Border) -> BorderRow:
    told = row.second_model
    return BorderRow(
        by=found.by,
        first=row.pair[0],
        second=row.pair[1],
        p_first=row.first,
        p_second=row.second,
        p_third=row.third_probability,
        distance=row.distance,
        attack_distance=row.attack_distance,
        second_model_class=None if told is None else int(np.argmax(told)),
        second_model_p=None if told is None else max(told),
        status=row.status,
    )


def _pairs(atlas: Atlas, confusion: Confusion | None) -> list[PairRow]:
    mutual = None if confusion is None else confusion.mutual
    rows = []
    for a, b in zip(*np.nonzero(np.triu(atlas.tried)), strict=True):
        rows.append(
            PairRow(
                first=int(a),
                second=int(b),
                touches=bool(atlas.touches[a, b]),
                distance=float(atlas.distance[a, b]),
                confused=None if mutual is None else float(mutual[a, b]),
            )
        )
    return sorted(rows, key=lambda row: (row.distance is None, row.distance or 0.0))


def _planes(work: Work, found: Borders) -> tuple[tuple[int, ...], dict[str, np.ndarray]]:
    """Return the positions of the nearest borders whose planes are shown, and the planes."""
    positions = [place for place, row in enumerate(found.rows) if row.is_reached]
    positions.sort(key=lambda place: found.rows[place].distance)
    shown: list[int] = []
    arrays: dict[str, np.ndarray] = {}
    for place in positions:
        if len(shown) == work.settings.planes or found.goals is None:
            break
        start, border, goal = (torch.from_numpy(images[place]) for images in (found.starts, found.images, found.goals))
        try:
            plane = plane_through(work.target, start, border, goal, grid=work.settings.grid)
        except SettingError:  # they lie on one line, so that there is no plane
            continue
        name = f"plane-{len(shown)}"
        arrays |= {f"{name}-across": plane.across, f"{name}-up": plane.up, f"{name}-points": plane.points}
        arrays[f"{name}-probabilities"] = plane.probabilities.astype(np.float32)
        shown.append(place)
    return tuple(shown), arrays
