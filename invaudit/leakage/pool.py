"""The pool of an audit: members and controls together, in an order that tells nothing about who is which."""

import csv
import io
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from invaudit.data import ImageSet
from invaudit.leakage.blind import blind_baseline
from invaudit.leakage.matches import Embeddings
from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import DataError, MissingDataError, ShapeError
from invaudit.runtime.numbers import whole_number
from invaudit.runtime.paths import asking, is_file, read_text
from invaudit.runtime.text import shown
from invaudit.stats import BlindBaseline, Design, Observational, Pairs, strata

MOST_BYTES = 2**28
"""Largest CSV file that is read."""

Draw = Callable[[Design, NDArray[np.int64]], NDArray[np.int64]]
"""Gives the positions of the images that are chosen, for the design and the class of each image."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pool:
    """Members and controls together, with all that an audit of them needs.

    Attributes:
        images: The N images; their labels are classes, 0 throughout where there are none.
        design: Who is a member.
        classes: Number of classes of the data that they come from.
        reference: (M, C, H, W) float32 in [0, 1], images of the same source that are in no pool: for priors, the centre
            of the cosine and the scoring limit; None: there are none.
        source: (N,) position of each image among the members or the controls as they were given; None: the pool was
            drawn from one set.
        dropped: Images left out because they are both member and control, or copies of another one.
        labelled: Whether the images have classes.
    """

    images: ImageSet
    design: Design
    classes: int
    reference: Tensor | None = None
    source: NDArray[np.int64] | None = None
    dropped: int = 0
    labelled: bool = True

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @cached_property
    def floats(self) -> Tensor:
        """(N, C, H, W) float32 in [0, 1], the images."""
        return self.images.floats()

    @property
    def labels(self) -> Tensor:
        """(N,) int64, the classes of the images."""
        return self.images.labels

    @property
    def member(self) -> Tensor:
        """(N,) bool, whether each image is a member."""
        return torch.from_numpy(self.design.member.copy())

    @property
    def n_members(self) -> int:
        """Number of members."""
        return int(self.design.member.sum())

    @property
    def n_control(self) -> int:
        """Number of controls."""
        return len(self.images) - self.n_members

    @cached_property
    def embeddings(self) -> Embeddings:
        """The images as metrics compare them."""
        return Embeddings(self.floats)

    def subset(self, positions: NDArray[np.int64]) -> "Pool":
        """Return the pool of these images."""
        images = self.images.subset(torch.from_numpy(positions))
        source = None if self.source is None else self.source[positions]
        return replace(self, images=images, design=self.design.subset(positions), source=source)


@dataclass(frozen=True, eq=False)
class Side:
    """Members, or controls, on their way into a pool.

    Attributes:
        images: The images.
        hashes: Hash of each image.
        source: (N,) position of each image among those that were given.
        kept: (N,) bool, whether each image goes into the pool.
    """

    images: ImageSet
    hashes: list[bytes]
    source: NDArray[np.int64]
    kept: NDArray[np.bool_]

    @classmethod
    def of(cls, images: ImageSet, source: NDArray[np.int64] | None = None) -> "Side":
        """Return a side that keeps all of its images."""
        if source is None:
            source = np.arange(len(images))
        return cls(images, images.image_hashes(), source, kept=np.ones(len(images), bool))

    @property
    def places(self) -> NDArray[np.int64]:
        """Positions of the images that are kept."""
        return np.flatnonzero(self.kept)

    @property
    def kept_hashes(self) -> list[bytes]:
        """Hashes of the images that are kept."""
        return [self.hashes[place] for place in self.places]

    def without(self, hashes: set[bytes]) -> "Side":
        """Return the side without the images of these hashes."""
        stays = [image_hash not in hashes for image_hash in self.hashes]
        return replace(self, kept=self.kept & np.array(stays))

    def without_copies(self) -> "Side":
        """Return the side with the first of its copies alone: they would carry one label in every relabelling."""
        first = np.zeros(len(self.hashes), bool)
        first[np.unique(self.hashes, return_index=True)[1]] = True
        return replace(self, kept=self.kept & first)


def make_pool(
    members: ImageSet,
    controls: ImageSet,
    *,
    pairs: NDArray[np.int64] | None = None,
    groups: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    reference: Tensor | None = None,
    drop_duplicates: bool = False,
    draw: Draw | None = None,
) -> Pool:
    """Put members and controls together, ordered by the hash of each image.

    Of copies among members, or among controls, one stays; with pairs they are refused or dropped as well. Images are
    held in memory once they are in the pool, and no others are.

    Args:
        members: Images that the target was trained on.
        controls: Images of the same source that it was not trained on.
        pairs: (P, 2) positions of a member and a control each, drawn by coins before training; the pool is then these
            images, under the ``pairs`` design. None: all images, under the ``observational`` design, with classes as
            strata.
        groups: Under ``observational``, the group of each member and of each control, such as the patient: their labels
            move together.
        reference: (M, C, H, W) in [0, 1], further images of the source.
        drop_duplicates: Leave out images that are both member and control. With pairs: every pair with an image that
            another pair has too.
        draw: Chooses the images of the pool among those that are left; None: all of them.

    Raises:
        ShapeError: Images of different shapes.
        DataError: An image is both member and control, or in several pairs; pairs that do not fit, or groups beside
            them; only one of the two sets has classes.
        SettingError: A group with members and controls.
    """
    _refuse_unlike(members, controls)
    if pairs is None:
        sides = _deduplicated(Side.of(members), Side.of(controls), drop=drop_duplicates)
    else:
        if groups is not None:
            raise DataError("groups beside pairs: the coins of pairs were tossed for images; give one of the two")
        paired_members, paired_controls = _paired(members, controls, pairs)
        member_positions, control_positions = pairs.T
        sides = _deduplicated_pairs(
            Side.of(paired_members, member_positions), Side.of(paired_controls, control_positions), drop=drop_duplicates
        )
    pool = _merged(*sides, groups=groups, are_pairs=pairs is not None, classes=members.classes, draw=draw)
    return replace(pool, reference=reference)


def _refuse_unlike(members: ImageSet, controls: ImageSet) -> None:
    if members.shape != controls.shape:
        raise ShapeError(
            f"members have shape {members.shape}, controls {controls.shape}; "
            "give both in one size and with the same channels"
        )
    if (members.labels.min() < 0) != (controls.labels.min() < 0):
        raise DataError("only one of members and controls has class labels; give labels for both, or for neither")


def _deduplicated(members: Side, controls: Side, *, drop: bool) -> tuple[Side, Side]:
    """Leave out images that are both member and control, or refuse them; of copies on one side one stays."""
    both = set(members.hashes) & set(controls.hashes)
    if both and not drop:
        raise _shared_images(len(both), f"both member and control, the first is member {_first_of(members, both)}")
    return members.without(both).without_copies(), controls.without(both).without_copies()


def _deduplicated_pairs(members: Side, controls: Side, *, drop: bool) -> tuple[Side, Side]:
    """Leave out pairs with an image that another pair has too, or refuse them.

    The coins of pairs that share an image do not fall independently, given that it is not both member and control.
    """
    both = set(members.hashes) & set(controls.hashes)
    shared: set[bytes] = set()
    for image_hash, count in Counter(members.hashes + controls.hashes).items():
        if count > 1:
            shared.add(image_hash)
    if both and not drop:
        raise _shared_images(len(both), f"both member and control, the first is member {_first_of(members, shared)}")
    kept = members.without(shared).kept & controls.without(shared).kept
    if shared and not drop:
        raise _shared_images(len(shared), f"in several pairs, the first in pair {int((~kept).argmax())}")
    return replace(members, kept=kept), replace(controls, kept=kept)


def _first_of(side: Side, hashes: set[bytes]) -> int:
    return int((~side.without(hashes).kept).argmax())


def _shared_images(count: int, what: str) -> DataError:
    return DataError(
        f"{count} image(s) are {what}; "
        "give controls that the target was not trained on, or drop such images with --drop-duplicates"
    )


def _merged(
    members: Side,
    controls: Side,
    *,
    groups: tuple[NDArray[np.int64], NDArray[np.int64]] | None,
    are_pairs: bool,
    classes: int,
    draw: Draw | None,
) -> Pool:
    """Return the pool of what is kept of both sides and drawn, ordered by the hash of each image."""
    first, second = members.places, controls.places
    if not (len(first) and len(second)):
        raise DataError(f"{len(first)} members and {len(second)} controls are left, expected some of each")
    dropped = len(members.images) + len(controls.images) - len(first) - len(second)
    if dropped:
        _log.warning("%d image(s) are left out of the pool: duplicates", dropped)
    order = np.argsort(members.kept_hashes + controls.kept_hashes, kind="stable")
    labels = torch.cat([members.images.labels[first], controls.images.labels[second]])[order].clamp_min(0)
    files = _files_of(members.images, first) + _files_of(controls.images, second)
    member = np.repeat([True, False], [len(first), len(second)])[order]
    if are_pairs:
        design = Pairs(member, np.concatenate([first, second])[order])
    else:
        group = None
        if groups is not None:
            member_groups, control_groups = groups
            group = np.concatenate([member_groups[first], control_groups[second]])[order]
        design = Observational(member, labels.numpy(), group)
    if draw is not None:
        positions = draw(design, labels.numpy())
        order, labels, design = order[positions], labels[positions], design.subset(positions)
    return Pool(
        images=ImageSet(
            "pool",
            _pixels(members.images, controls.images, first, second, order),
            labels,
            members.images.transform,
            class_names=members.images.class_names,
            files=tuple(files[place] for place in order.tolist()) if any(files) else (),
        ),
        design=design,
        classes=classes,
        source=np.concatenate([members.source[first], controls.source[second]])[order],
        dropped=dropped,
        labelled=bool(members.images.labels.min() >= 0),
    )


def _pixels(
    members: ImageSet, controls: ImageSet, first: NDArray[np.int64], second: NDArray[np.int64], order: NDArray[np.int64]
) -> Tensor:
    """Return the images of a pool, (N, C, H, W) uint8: those at ``first`` of the members, then those at ``second``.

    Args:
        members: All members.
        controls: All controls.
        first: Positions of the members that could be in the pool.
        second: The same of the controls.
        order: (N,) the images of the pool among both together; at least one of each side.
    """
    from_members = order < len(first)
    pixels = torch.empty((len(order), *members.shape), dtype=torch.uint8)
    chosen_members, chosen_controls = first[order[from_members]], second[order[~from_members] - len(first)]
    pixels[torch.from_numpy(from_members)] = members.subset(torch.from_numpy(chosen_members)).images
    pixels[torch.from_numpy(~from_members)] = controls.subset(torch.from_numpy(chosen_controls)).images
    return pixels


def _files_of(images: ImageSet, places: NDArray[np.int64]) -> list[str]:
    return [images.files[place] for place in places.tolist()] if images.files else [""] * len(places)


def stratified(pool: Pool, rng: np.random.Generator, *, most: int | None = None) -> tuple[Pool, BlindBaseline]:
    """Return the part of a pool that is tested, and the blind baseline on it.

    Under ``observational`` all members and controls are tested, or so many of each at random, in strata of class and
    blind score. Under ``pairs``: all of it.

    Args:
        pool: The pool.
        rng: Source of the draw and of the baseline's folds and relabellings.
        most: Largest number of members, and of controls, to draw; None: no limit.
    """
    if isinstance(pool.design, Pairs):
        return pool, blind_baseline(pool.floats, pool.design, rng)
    positions = pool.design.drawn(pool.labels.numpy(), rng, most=most)
    tested, design = pool.subset(positions), pool.design.subset(positions)
    blind = blind_baseline(tested.floats, design, rng)
    stratum = strata(design, blind.score)
    return replace(tested, design=Observational(design.member, stratum, design.group)), blind


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
    if not is_file(path, DataError):
        raise MissingDataError(f"the file of pairs {path} is not there; give the one that was drawn before training")
    with asking(path, DataError):
        written_after = made_before is not None and path.stat().st_mtime > made_before.stat().st_mtime
    if written_after:
        raise DataError(
            f"{path} was written after {made_before}: pairs that are drawn after an attack could be chosen to fit it; "
            "give the file that was drawn before training"
        )
    expected = "expected a CSV file with the columns member and control, positions from 0"
    rows = []
    for line in _lines(path, ("member", "control"), expected):
        rows.append((_position(line["member"], path, expected), _position(line["control"], path, expected)))
    if not rows:
        raise DataError(f"{path} holds no pairs, {expected}")
    return np.array(rows, np.int64)


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
    if not is_file(path, DataError):
        raise MissingDataError(f"the file of groups {path} is not there; check the path")
    expected = "expected a CSV file with the columns side (member or control), index (from 0) and group"
    group_of: dict[tuple[str, int], str] = {}
    n_lines = 0
    for line in _lines(path, ("side", "index", "group"), expected):
        if not (line["side"] and line["group"]):
            raise DataError(f"{path}: {expected}; a line has no side or no group")
        group_of[line["side"], _position(line["index"], path, expected)] = line["group"]
        n_lines += 1
    image_names = [*product(["member"], range(members)), *product(["control"], range(controls))]
    if group_of.keys() != set(image_names) or n_lines != len(image_names):
        raise DataError(f"{path}: {expected}, each of the {members} members and {controls} controls once")
    groups = [group_of[image_name] for image_name in image_names]
    mixed = set(groups[:members]) & set(groups[members:])
    if mixed:
        raise DataError(
            f"{path}: group {shown(min(mixed))} holds members and controls ({len(mixed)} such group(s)); leave out the "
            "controls of groups that the target was trained on"
        )
    number = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    return number[:members], number[members:]


def _lines(path: Path, columns: Sequence[str], expected: str) -> list[dict[str, str]]:
    """Return the lines of a CSV file by column; a byte order mark, as Excel writes it, is no part of the first name."""
    text = read_text(path, DataError, most=MOST_BYTES)
    with foreign(f"{path} is no CSV file", DataError, remedy=expected):
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        names, lines = list(reader.fieldnames or ()), list(reader)
    absent = [column for column in columns if column not in names]
    if absent:
        raise DataError(f"{path} has the columns {shown(names)} and no {absent[0]}; {expected}")
    return [{column: line[column] or "" for column in columns} for line in lines]


def _position(text: str, path: Path, expected: str) -> int:
    """Return a position that a file names."""
    position = whole_number(text.strip())
    if position is None:
        raise DataError(f"{path} names the position {shown(text)}; {expected}")
    return position


def _paired(members: ImageSet, controls: ImageSet, pairs: NDArray[np.int64]) -> tuple[ImageSet, ImageSet]:
    """Return the members and the controls of pairs, in the order of the pairs."""
    paired_members = _one_of_each(members, pairs[:, 0], "member")
    paired_controls = _one_of_each(controls, pairs[:, 1], "control")
    unlike = paired_members.labels != paired_controls.labels
    if unlike.any():
        raise DataError(f"pair {int(unlike.nonzero()[0])} joins images of two classes; pairs must be of one class")
    return paired_members, paired_controls


def _one_of_each(images: ImageSet, positions: NDArray[np.int64], side: str) -> ImageSet:
    if positions.min() < 0 or positions.max() >= len(images):
        raise DataError(f"pairs name {side} {positions.max()}, expected positions from 0 to {len(images) - 1}")
    if len(np.unique(positions)) < len(positions):
        raise DataError(f"pairs name a {side} twice; each image belongs to one pair")
    return images.subset(torch.from_numpy(positions))
