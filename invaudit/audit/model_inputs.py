"""The images of the audit of a model: loaded as the model takes them, checked, and put into pools."""

from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from invaudit.audit.model_settings import ModelAuditSettings
from invaudit.audit.pools import coin_pool, load_labelled
from invaudit.data import ImageSet, load, refuse_duplicates, seeded_rng
from invaudit.data.joining import with_classes
from invaudit.leakage import Pool, make_pool
from invaudit.leakage.pool import stratified
from invaudit.models import Target
from invaudit.models.suitability import refuse_misfit
from invaudit.records.names import ATTACK_CONTROL
from invaudit.runtime.console import notice
from invaudit.runtime.errors import DataError, SettingError, ShapeError
from invaudit.runtime.seeds import child_seed
from invaudit.stats import BlindBaseline

SET_ASIDE, ENOUGH_CONTROLS, MOST_SET_ASIDE = 5, 500, 1_000
"""Without reference images every fifth control, at most a thousand, becomes one, where there are 500 or more."""
MOST_BYTES = 2**29
"""Bytes that the images of a pool may take as floats."""


class AuditImages(NamedTuple):
    """The images of an audit, as the model takes them."""

    members: ImageSet
    controls: ImageSet
    reference: ImageSet | None
    ood: dict[str, ImageSet]
    trained_references: ImageSet | None
    """What reference models are trained on."""
    control_places: NDArray[np.int64]
    """Position of each control among those that were given, of which some may be the reference."""

    @property
    def labelled_reference(self) -> ImageSet | None:
        """The reference images where they have classes."""
        reference = self.reference
        return reference if reference is not None and int(reference.labels.min()) >= 0 else None

    @property
    def hashes(self) -> dict[str, str]:
        """Content hash of each set by its name."""
        return self.fixed_hashes | {f"ood/{name}": images.hash for name, images in self.ood.items()}

    @property
    def fixed_hashes(self) -> dict[str, str]:
        """Content hash of each set that an audit begins with; sets of other kinds may be added later."""
        hashes = {"members": self.members.hash, "controls": self.controls.hash}
        if self.reference is not None:
            hashes["reference"] = self.reference.hash
        if self.trained_references is not None:
            hashes["train-references-on"] = self.trained_references.hash
        return hashes


class AuditPools(NamedTuple):
    """The pools of an audit.

    Attributes:
        scored: Members and controls that membership is scored on.
        blind: The blind baseline on them.
        known: Pool of the attack control, drawn from the controls.
        left_out: Classes with too few controls for it, by name, or by number where they have none.
    """

    scored: Pool
    blind: BlindBaseline
    known: Pool
    left_out: tuple[str, ...]


def load_images(target: Target, settings: ModelAuditSettings) -> AuditImages:
    """Load all images as the model takes them; what does not fit is refused here, before anything is written.

    Raises:
        InputError: Data that is missing or does not fit.
    """
    wanted = target.spec.pictures
    members = load_labelled(settings.members, wanted)
    controls = load_labelled(settings.controls, wanted)
    controls = with_classes(controls, members.class_names, known_by=settings.members)
    members = refuse_misfit(target, members, f"the members {settings.members}")
    controls = refuse_misfit(target, controls, f"the controls {settings.controls}", unseen=True)
    reference = None if settings.reference is None else load(settings.reference, wanted=wanted)
    trained_references = None
    if settings.train_references_on is not None:
        trained_references = load_labelled(settings.train_references_on, wanted)
        trained_references = with_classes(trained_references, members.class_names, known_by=settings.members)
        known_as = f"the data {settings.train_references_on}"
        trained_references = refuse_misfit(target, trained_references, known_as, unseen=True)
    ood = {data: load(data, wanted=wanted) for data in settings.ood}
    others = ood if reference is None else {str(settings.reference): reference, **ood}
    for data, images in others.items():
        if images.shape != target.spec.shape:
            raise ShapeError(f"{data} has images of {images.shape}, the model takes {target.spec.shape}; resize them")
    if reference is not None:
        if int(reference.labels.min()) >= 0:
            reference = with_classes(reference, members.class_names, known_by=settings.members)
        refuse_duplicates({"reference": reference, "members": members})
        refuse_duplicates({"reference": reference, "controls": controls})
    places = np.arange(len(controls))
    if reference is None and len(controls) >= ENOUGH_CONTROLS:
        set_aside = _set_aside(members, controls)
        notice(f"no --reference: {len(set_aside)} of the {len(controls)} controls are set aside for it")
        reference, places = controls.subset(torch.from_numpy(set_aside)), np.setdiff1d(places, set_aside)
        controls = controls.subset(torch.from_numpy(places))
    return AuditImages(members, controls, reference, ood, trained_references, places)


def _set_aside(members: ImageSet, controls: ImageSet) -> NDArray[np.int64]:
    """Return the positions of every fifth control of each class, without copies of other images."""
    hashes = controls.image_hashes()
    times_seen = Counter(hashes) + Counter(members.image_hashes())
    by_class = np.argsort(controls.labels.numpy(), kind="stable")
    alone = [place for place in by_class[SET_ASIDE - 1 :: SET_ASIDE] if times_seen[hashes[place]] == 1]
    spread = np.linspace(0, len(alone) - 1, min(len(alone), MOST_SET_ASIDE)).astype(np.int64)
    return np.sort(np.array(alone, dtype=np.int64)[spread])


def make_pools(settings: ModelAuditSettings, images: AuditImages) -> AuditPools:
    """Put members and controls together, with the blind baseline on them, and draw the pool of the attack control.

    Raises:
        InputError: Images that are member and control, or too few controls.
    """
    seed = settings.seeds[0]
    room = MOST_BYTES // (8 * int(np.prod(images.members.shape)))
    reference = None if images.reference is None else images.reference.spread(room).floats()
    rng = np.random.default_rng(child_seed(seed, "strata"))
    most = max(7, min(settings.scored, room))
    # Drawn before images are brought into memory: of photos there may be far more than it holds.
    drawn = make_pool(
        images.members,
        images.controls,
        reference=reference,
        drop_duplicates=settings.drop_duplicates,
        draw=lambda design, labels: design.drawn(labels, rng, most=most),
    )
    assert drawn.source is not None  # noqa: S101 - it was made from two sets
    given = drawn.source.copy()
    given[~drawn.design.member] = images.control_places[given[~drawn.design.member]]
    if (many := max(len(images.members), len(images.controls))) > room:
        notice(f"{room} members and controls at most are tested, for want of memory, in place of {many}")
    scored, blind = stratified(replace(drawn, source=given), rng)
    return AuditPools(scored, blind, *_known_pool(settings, images.controls, room))


def _known_pool(settings: ModelAuditSettings, controls: ImageSet, room: int) -> tuple[Pool, tuple[str, ...]]:
    """Return the pool of the attack control, and the classes that it does without."""
    rng = seeded_rng(settings.seeds[0], ATTACK_CONTROL)
    try:
        pool, draw = coin_pool(controls, settings.known_members, rng, leave_out_rare=True, most_reference=room)
    except SettingError as error:
        raise DataError(
            f"{settings.controls} has too few images for an attack control of {settings.known_members} members and as "
            f"many controls ({error}); give more controls, or lower known_members"
        ) from error
    return pool, tuple(controls.class_name(label) or str(label) for label in draw.left_out)
