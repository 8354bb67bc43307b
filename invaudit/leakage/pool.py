"""The pool of an audit: members and controls together, in an order that tells nothing about who is which."""

import csv
import logging
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from invaudit.data import ImageSet
from invaudit.data.splits import image_hashes
from invaudit.leakage.blind import BlindBaseline, blind_baseline
from invaudit.runtime.errors import DataError, MissingDataError, ShapeError
from invaudit.stats import Design, Observational, Pairs, strata

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pool:
    """Members and controls.

    Attributes:
        images: The N images; their labels are classes, 0 throughout where there are none.
        design: Who is a member.
        source: (N,) position of each image among the members or the controls as they were given.
        dropped: Images left out because they are both member and control, or copies of another one.
        labelled: Whether the images have classes.
    """

    images: ImageSet
    design: Design
    source: NDArray[np.int64]
    dropped: int
    labelled: bool

    def subset(self, positions: NDArray[np.int64]) -> "Pool":
        """Return the pool of these images."""
        chosen = self.images.subset(torch.from_numpy(positions))
        design = self.design.subset(positions)
        return replace(self, images=chosen, design=design, source=self.source[positions])


def make_pool(
    members: ImageSet,
    controls: ImageSet,
    *,
    pairs: NDArray[np.int64] | None = None,
    groups: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    drop_duplicates: bool = False,
) -> Pool:
    """Put members and controls together, ordered by the hash of each image.

    Args:
        members: Images that the target was trained on.
        controls: Images of the same source that it was not trained on.
        pairs: (P, 2) positions of a member and a control each, drawn by coins before training; the pool is then these
            images, under the ``pairs`` design. None: all images, under the ``observational`` design, with classes as
            strata.
        groups: Under ``observational``, the group of each member and of each control, such as the patient: their labels
            move together.
        drop_duplicates: Leave out images that are both member and control. With pairs: every pair with an image that
            another pair has too.

    Of copies among members, or among controls, one stays; with pairs they are refused or dropped as well.

    Raises:
        ShapeError: Images of different shapes.
        DataError: An image is both member and control, or in several pairs; pairs that do not fit, or groups beside
            them; only one of the two sets has classes.
        SettingError: A group with members and controls.
    """
    if members.images.shape[1:] != controls.images.shape[1:]:
        raise ShapeError(
            f"members have shape {tuple(members.images.shape[1:])}, controls {tuple(controls.images.shape[1:])}; "
            "give both in one size and with the same channels"
        )
    if (members.labels.min() < 0) != (controls.labels.min() < 0):
        raise DataError("only one of members and controls has class labels; give labels for both, or for neither")
    if pairs is not None:
        if groups is not None:
            raise DataError("groups beside pairs: the coins of pairs were tossed for images; give one of the two")
        members, controls = _paired(members, controls, pairs)
    hashes = [image_hashes(members), image_hashes(controls)]
    both = set(hashes[0]) & set(hashes[1])
    # The coins of pairs that share an image do not fall independently, given that it is not both member and control.
    shared = both if pairs is None else {one for one, count in Counter(hashes[0] + hashes[1]).items() if count > 1}
    kept = [np.array([one not in shared for one in side]) for side in hashes]
    if shared and not drop_duplicates:
        what = f"both member and control, the first is member {int((~kept[0]).argmax())}"
        if not both:
            what = f"in several pairs, the first in pair {int((~(kept[0] & kept[1])).argmax())}"
        raise DataError(
            f"{len(both or shared)} image(s) are {what}; "
            "give controls that the target was not trained on, or drop such images with --drop-duplicates"
        )
    kept = (
        [kept[0] & kept[1]] * 2
        if pairs is not None
        else [_first(one) & side for one, side in zip(hashes, kept, strict=True)]
    )
    dropped = sum(int((~side).sum()) for side in kept)
    if dropped:
        _log.warning("%d image(s) are left out of the pool: duplicates", dropped)
    places = [np.flatnonzero(side) for side in kept]
    if not min(map(len, places)):
        raise DataError(f"{len(places[0])} members and {len(places[1])} controls are left, expected some of each")
    order = np.argsort([hashes[side][place] for side in (0, 1) for place in places[side]], kind="stable")
    given = [np.arange(len(hashes[side])) if pairs is None else pairs[:, side] for side in (0, 1)]
    source = np.concatenate([given[side][places[side]] for side in (0, 1)])[order]
    member = np.repeat([True, False], [len(place) for place in places])[order]
    images = torch.cat([members.images[places[0]], controls.images[places[1]]])[order]
    labels = torch.cat([members.labels[places[0]], controls.labels[places[1]]])[order].clamp_min(0)
    pair = np.concatenate(places)[order]
    if pairs is not None:
        design = Pairs(member, pair)
    else:
        group = groups and np.concatenate([groups[side][places[side]] for side in (0, 1)])[order]
        design = Observational(member, labels.numpy(), group)
    labelled = bool(members.labels.min() >= 0)
    return Pool(ImageSet("pool", images, labels, members.transform), design, source, dropped, labelled)


def stratified(
    pool: Pool, rng: np.random.Generator, *, bins: int = 5, most: int | None = None
) -> tuple[Pool, BlindBaseline]:
    """Return the part of a pool that is tested, and the blind baseline on it.

    Under ``observational``: as many members as controls of each class, at random, and strata of class and blind score.
    Under ``pairs``: all of it.

    Args:
        pool: The pool.
        rng: Source of the draw and of the baseline's folds and relabellings.
        bins: Bins of the blind score in each class.
        most: Largest number of members, and of controls, to draw; None: no limit.
    """
    if isinstance(pool.design, Pairs):
        return pool, blind_baseline(pool.images.floats(), pool.design, rng)
    kept = pool.design.balanced(pool.images.labels.numpy(), rng, most=most)
    tested, design = pool.subset(kept), pool.design.subset(kept)
    blind = blind_baseline(tested.images.floats(), design, rng)
    found = strata(tested.images.labels.numpy(), blind.score, bins, group=design.group)
    design = Observational(design.member, found, design.group)
    return replace(tested, design=design), blind


def read_pairs(path: Path, *, made_before: Path | None = None) -> NDArray[np.int64]:
    """Read a file of pairs: CSV with the columns ``member`` and ``control``, positions from 0.

    Args:
        path: The file.
        made_before: The reconstructions: pairs written after them could have been chosen to fit.

    Returns:
        (P, 2) positions.

    Raises:
        MissingDataError: There is no such file.
        DataError: Other columns, values that are no positions, or a file newer than the reconstructions.
    """
    if not path.is_file():
        raise MissingDataError(f"the file of pairs {path} is not there; give the one that was drawn before training")
    if made_before is not None and path.stat().st_mtime > made_before.stat().st_mtime:
        raise DataError(
            f"{path} was written after {made_before}: pairs that are drawn after an attack could be chosen to fit it; "
            "give the file that was drawn before training"
        )
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        pairs = np.array([[int(row["member"]), int(row["control"])] for row in rows], np.int64).reshape(-1, 2)
    except (KeyError, TypeError, ValueError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV file with the columns member and control, positions from 0") from error
    if not len(pairs):
        raise DataError(f"{path} holds no pairs, expected at least one")
    return pairs


def read_groups(path: Path, members: int, controls: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Read a file of groups: CSV with the columns ``side`` (member or control), ``index`` (from 0) and ``group``.

    Args:
        path: The file; it names every image once.
        members: Number of members.
        controls: Number of controls.

    Returns:
        Numbers of the groups of members and of controls.

    Raises:
        MissingDataError: There is no such file.
        DataError: Other columns, an image that is named twice, not at all or without a group, or a group with members
            and controls.
    """
    if not path.is_file():
        raise MissingDataError(f"the file of groups {path} is not there")
    expected = "expected a CSV file with the columns side (member or control), index (from 0) and group"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [((row["side"], int(row["index"])), row["group"]) for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {expected}") from error
    if not all(side and group for (side, _), group in rows):
        raise DataError(f"{path}: {expected}; a line has no side or no group")
    wanted = [("member", index) for index in range(members)] + [("control", index) for index in range(controls)]
    if sorted(place for place, _ in rows) != sorted(wanted):
        raise DataError(f"{path}: {expected}, each of the {members} members and {controls} controls once")
    known = dict(rows)
    mixed = {known[place] for place in wanted[:members]} & {known[place] for place in wanted[members:]}
    if mixed:
        raise DataError(
            f"{path}: group {min(mixed)!r} holds members and controls ({len(mixed)} such group(s)); leave out the "
            "controls of groups that the target was trained on"
        )
    number = np.unique([known[place] for place in wanted], return_inverse=True)[1].astype(np.int64)
    return number[:members], number[members:]


def _paired(members: ImageSet, controls: ImageSet, pairs: NDArray[np.int64]) -> tuple[ImageSet, ImageSet]:
    sides = []
    for column, (name, images) in enumerate((("member", members), ("control", controls))):
        index = pairs[:, column]
        if index.min() < 0 or index.max() >= len(images):
            raise DataError(f"pairs name {name} {index.max()}, expected positions from 0 to {len(images) - 1}")
        if len(np.unique(index)) < len(index):
            raise DataError(f"pairs name a {name} twice; each image belongs to one pair")
        sides.append(images.subset(torch.from_numpy(index)))
    if not torch.equal(sides[0].labels, sides[1].labels):
        first = int((sides[0].labels != sides[1].labels).nonzero()[0])
        raise DataError(f"pair {first} joins images of two classes; pairs must be of one class")
    return sides[0], sides[1]


def _first(hashes: list[bytes]) -> NDArray[np.bool_]:
    """Return whether each image is the first of its copies: they would carry one label in every relabelling."""
    first = np.zeros(len(hashes), bool)
    first[np.unique(hashes, return_index=True)[1]] = True
    return first
