"""The stage of an explanation that looks for what fools the network."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from invaudit.data.image_set import eight_bits, evenly_spread
from invaudit.explain.adversarial import INVERSION, Fooled, attacked
from invaudit.explain.adversary import Adversary, train_adversary
from invaudit.explain.attacks import chosen_attack
from invaudit.explain.counterfeits import counterfeit_row, counterfeits
from invaudit.explain.figures import figure
from invaudit.explain.judging import predictions
from invaudit.explain.work import Work
from invaudit.records.explain import AdversarialRecord, AttackRow, CounterfeitRow
from invaudit.runtime.errors import InputError

FEWEST_TO_LEARN = 100
"""Real images beside those that are attacked, from which on a generator of adversarial samples is trained on them."""
SHOWN = 10
"""Attacked images that are kept and shown."""

Arrays = dict[str, np.ndarray]


def adversarial(work: Work) -> tuple[AdversarialRecord, Arrays]:
    """Attack real images, and make counterfeits; what cannot be done has its reason."""
    reasons: list[str] = []
    rows: tuple[AttackRow, ...] = ()
    arrays: Arrays = {}
    if work.real is None:
        reasons.append("no attacks: no labelled real images were given (--data)")
    else:
        rows, arrays = _attacks(work, reasons)
    row = None
    if work.settings.by == "pixels":
        reasons.append("no counterfeits: they come from a generator, and the search is by pixels")
    else:
        row, of_counterfeits = _counterfeits(work, reasons)
        arrays |= of_counterfeits
    status = "ok" if rows or row is not None else "skipped"
    return AdversarialRecord(status=status, reason="; ".join(reasons) or None, attacks=rows, counterfeits=row), arrays


def _attacks(work: Work, reasons: list[str]) -> tuple[tuple[AttackRow, ...], Arrays]:
    real = work.needs_real()
    is_attacked = torch.zeros(len(real), dtype=torch.bool)
    is_attacked[evenly_spread(len(real), work.settings.attacked)] = True
    photos, labels = real.floats(is_attacked.nonzero()[:, 0]), real.labels[is_attacked]
    adversary = _adversary(work, (~is_attacked).nonzero()[:, 0], reasons)
    found = attacked(
        work.target,
        photos,
        labels,
        work.settings.attacks,
        seed=work.seed,
        adversary=adversary,
        second=work.second_network,
        guard=work.guard,
    )
    index = found[0].index[:SHOWN]
    arrays = {"photos": eight_bits(photos[index]).numpy(), "labels": labels[index].numpy()}
    rows = []
    for one in found:
        name = one.row.attack
        images = one.samples.images[:SHOWN]
        # Rounded to 8 bits an image may be answered otherwise, so the answers are those to the images as they are.
        arrays |= {f"{name}-images": images.numpy(), f"{name}-answers": predictions(work.target, images).numpy()}
        rows.append(_row(one, _settings(work, name)))
    return tuple(rows), arrays


def _adversary(work: Work, others: Tensor, reasons: list[str]) -> Adversary | None:
    if work.settings.by == "pixels":
        reasons.append(f"no attack {INVERSION}: it trains a generator, and the search is by pixels")
        return None
    if len(others) < FEWEST_TO_LEARN:
        reasons.append(
            f"no attack {INVERSION}: {len(others)} real images are left to train it, {FEWEST_TO_LEARN} needed"
        )
        return None
    real = work.needs_real()
    rng = work.rng("adversary")
    return train_adversary(work.target, real.floats(others), real.labels[others], rng, work.settings.adversary)


def _settings(work: Work, name: str) -> dict[str, Any]:
    if name == INVERSION:
        return work.settings.adversary.model_dump(mode="json")
    return chosen_attack(name, work.settings.attacks[name])[1].model_dump(mode="json")


def _row(found: Fooled, settings: dict[str, Any]) -> AttackRow:
    row = found.row
    success = figure(row.success)
    assert success is not None  # noqa: S101 - an attack always has one
    return AttackRow(
        attack=row.attack,
        settings=settings,
        aim=row.aim,
        n=row.n,
        success=success,
        euclidean=row.euclidean,
        largest=row.largest,
        transfer=figure(row.transfer),
        accepted=figure(row.accepted),
        accepted_photos=figure(row.accepted_photos),
        reason=row.reason or None,
    )


def _counterfeits(work: Work, reasons: list[str]) -> tuple[CounterfeitRow | None, Arrays]:
    try:
        made = counterfeits(work.target, SHOWN, work.rng("counterfeits"), work.settings.counterfeits)
    except InputError as error:
        reasons.append(f"no counterfeits: {error}")
        return None, {}
    row = counterfeit_row(work.target, made, second=work.second_network, guard=work.guard)
    success, sure = figure(row.success), figure(row.sure)
    assert success is not None and sure is not None  # noqa: S101, PT018 - there are always some
    record = CounterfeitRow(
        n=row.n,
        success=success,
        sure=sure,
        confidence=row.confidence,
        transfer=figure(row.transfer),
        accepted=figure(row.accepted),
    )
    images = eight_bits(made.images).view(work.target.classes, SHOWN, *work.target.spec.shape)
    return record, {"counterfeits": images.numpy()}
