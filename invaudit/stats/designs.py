"""How membership came about, and with it which other labellings were as likely as the one at hand.

A test of leakage relabels the pool many times and recomputes its statistic. That is exact, whatever the images, the
target and the attack, if every relabelling was as likely as the observed labels. A design says which ones those are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from invaudit.runtime.errors import SettingError, ShapeError

Labels = NDArray[np.bool_]
Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Same-class pairs; for each a fair coin, drawn before training, decided which image became a member.

    Relabelling tosses the coins again. Nothing is assumed about images, target, attack or the dependence among
    reconstructions; what is concluded is causal: training on an image made the difference.

    Attributes:
        member: (N,) bool, True for members; the pool is members and controls together.
        pair: (N,) int pair of each image; each pair has one member and one control.

    Raises:
        ShapeError: Empty, or the two differ in length.
        SettingError: A pair without exactly one member and one control.
    """

    member: Labels
    pair: Positions
    name: ClassVar[Literal["pairs"]] = "pairs"

    def __post_init__(self) -> None:
        """Check the arrays and keep read-only copies."""
        member, pair = _members(self.member), _whole(self.pair, "pair")
        _same_length(member, pair, "pair")
        ids, place, counts = np.unique(pair, return_inverse=True, return_counts=True)
        bad = (counts != 2) | (np.bincount(place, weights=member) != 1)
        if bad.any():
            first = bad.argmax()
            inside = int(member[place == first].sum())
            raise SettingError(
                f"pair {ids[first]} has {inside} member(s) and {counts[first] - inside} control(s), expected one of "
                f"each ({bad.sum()} such pair(s)); drop pairs as a whole, and use the observational design where "
                "membership was not drawn by a coin within pairs"
            )
        _set(self, member=member, pair=pair)

    def __len__(self) -> int:
        """Return the number of pool images N."""
        return len(self.member)

    @property
    def units(self) -> Positions:
        """(N,) the pair of each image: what carries one coin."""
        return self.pair

    @cached_property
    def _sides(self) -> Positions:
        """(P, 2) positions of both images of each pair."""
        return np.argsort(self.pair, kind="stable").reshape(-1, 2)

    def relabel(self, rng: np.random.Generator) -> Labels:
        """Return (N,) members of one relabelling: every pair swapped with probability 1/2."""
        return self.relabellings(rng, 1)[0]

    def relabellings(self, rng: np.random.Generator, n: int) -> Labels:
        """Return (n, N) independent relabellings."""
        coins = rng.integers(2, size=(n, len(self._sides)), dtype=np.uint8).astype(bool)
        labels = np.empty((n, len(self)), dtype=bool)
        labels[:, self._sides[:, 0]] = coins
        labels[:, self._sides[:, 1]] = ~coins
        return labels

    def attainable_p(self, hits: Positions) -> float:
        """Return 2 ** -h for the h pairs that ``hits`` (positions of images) touch: all their coins fall one way."""
        return 0.5 ** len(np.unique(self.pair[hits]))

    def drawn(self, labels: ArrayLike, rng: np.random.Generator, *, most: int | None = None) -> Positions:  # noqa: ARG002 (one interface)
        """Return the positions of the images that are tested: all of them."""
        return np.arange(len(self))

    def subset(self, positions: Positions) -> Self:
        """Return the design of these images, renumbered in the order given; whole pairs only."""
        return type(self)(self.member[positions], self.pair[positions])


@dataclass(frozen=True, eq=False)
class Observational:
    """Members and controls as they were found, as with a released model.

    The test holds if labels are exchangeable within strata: an assumption. Relabelling permutes labels within strata,
    whole groups together: a group is relabelled by exchange with groups that have the same number of images in every
    stratum, so that each relabelling keeps the number of members per stratum. Without groups that is a plain
    permutation within strata.

    Attributes:
        member: (N,) bool, True for members.
        stratum: (N,) int stratum of each image: its class, or class and bin of the blind score (`strata`).
        group: (N,) int group of each image, such as the patient; None: each image by itself.

    Raises:
        ShapeError: Empty, or lengths that differ.
        SettingError: No member or no control, or a group with both.
    """

    member: Labels
    stratum: Positions
    group: Positions | None = None
    name: ClassVar[Literal["observational"]] = "observational"

    def __post_init__(self) -> None:
        """Check the arrays and keep read-only copies."""
        member, stratum = _members(self.member), _whole(self.stratum, "stratum")
        _same_length(member, stratum, "stratum")
        if member.all() or not member.any():
            raise SettingError(
                f"the pool has {member.sum()} member(s) and {(~member).sum()} control(s), expected at least one of "
                "each; add images from the same source that the target was not trained on"
            )
        group = None if self.group is None else _whole(self.group, "group")
        if group is not None:
            _same_length(member, group, "group")
            ids, place, counts = np.unique(group, return_inverse=True, return_counts=True)
            inside = np.bincount(place, weights=member)
            mixed = (inside > 0) & (inside < counts)
            if mixed.any():
                raise SettingError(
                    f"group {ids[mixed.argmax()]} holds members and controls ({mixed.sum()} such group(s)); leave out "
                    "the controls of groups that the target was trained on"
                )
        _set(self, member=member, stratum=stratum, group=group)

    def __len__(self) -> int:
        """Return the number of pool images N."""
        return len(self.member)

    @property
    def units(self) -> Positions:
        """(N,) the group of each image, or its position: what is relabelled as a whole."""
        return np.arange(len(self)) if self.group is None else self.group

    @cached_property
    def unit_number(self) -> Positions:
        """(N,) number of each image's unit, 0 .. U - 1."""
        return np.unique(self.units, return_inverse=True)[1]

    @cached_property
    def unit_member(self) -> Labels:
        """(U,) bool, whether each unit is of members."""
        labels = np.empty(self.unit_number.max() + 1, dtype=bool)
        labels[self.unit_number] = self.member
        return labels

    @cached_property
    def blocks(self) -> list[Positions]:
        """Units that may exchange labels."""
        return _alike(self.unit_number, self.stratum)

    def relabel(self, rng: np.random.Generator) -> Labels:
        """Return (N,) members of one relabelling: labels permuted within strata, groups as a whole."""
        return self.relabellings(rng, 1)[0]

    def relabellings(self, rng: np.random.Generator, n: int) -> Labels:
        """Return (n, N) independent relabellings."""
        labels = np.empty((n, len(self.unit_member)), dtype=bool)
        for block in self.blocks:
            labels[:, block] = rng.permuted(np.tile(self.unit_member[block], (n, 1)), axis=1)
        return labels[:, self.unit_number]

    def attainable_p(self, hits: Positions) -> float:
        """Return the share of relabellings that make members of as many hit units as can be (positions of images)."""
        hit = np.zeros(len(self.unit_member), dtype=bool)
        hit[self.unit_number[hits]] = True
        log_shares = []
        for block in self.blocks:
            log_shares.append(_log_share(hit[block], self.unit_member[block]))
        return float(np.exp(sum(log_shares)))

    def drawn(self, labels: ArrayLike, rng: np.random.Generator, *, most: int | None = None) -> Positions:
        """Return the positions of the images that are tested: all, or so many of each side, at random.

        Whole units are drawn, blind to similarities. Relabelling keeps the numbers within each stratum, so members and
        controls need not be equally many.

        Args:
            labels: (N,) class of each image; a stratum must not hold two classes.
            rng: Source of the draw.
            most: Largest number of members, and of controls, but at least one unit of each; None: no limit.

        Returns:
            Sorted positions.

        Raises:
            ShapeError: Not one class per image.
            SettingError: A stratum that holds two classes, or no class with both members and controls.
        """
        classes = _whole(labels, "labels")
        _same_length(self.member, classes, "labels")
        if len(np.unique(np.stack([self.stratum, classes]), axis=1).T) != len(np.unique(self.stratum)):
            raise SettingError("a stratum holds images of several classes; make strata within classes, see strata()")
        if not any(len(set(self.unit_member[block])) > 1 for block in _alike(self.unit_number, classes)):
            raise SettingError(
                "no class has both members and controls (with groups: groups of equal size); add controls of the "
                "classes of the members"
            )
        if most is None or max(self.member.sum(), (~self.member).sum()) <= most:
            return np.arange(len(self))
        stays, sizes = np.zeros(len(self.unit_member), dtype=bool), np.bincount(self.unit_number)
        for side in (np.flatnonzero(self.unit_member), np.flatnonzero(~self.unit_member)):
            units = rng.permutation(side)
            stays[units[: max(1, int((sizes[units].cumsum() <= most).sum()))]] = True
        return np.flatnonzero(stays[self.unit_number])

    def subset(self, positions: Positions) -> Self:
        """Return the design of these images, renumbered in the order given."""
        group = None if self.group is None else self.group[positions]
        return type(self)(self.member[positions], self.stratum[positions], group)


Design = Pairs | Observational
DESIGNS: dict[str, Callable[..., Design]] = {"pairs": Pairs, "observational": Observational}


def _alike(place: Positions, kind: Positions) -> list[Positions]:
    """Return the units that have the same number of images of every kind, as lists of units."""
    kinds, column = np.unique(kind, return_inverse=True)
    if len(place) == place.max() + 1:  # one image each
        unit_kind = np.empty(len(place), dtype=np.int64)
        unit_kind[place] = column
    else:
        counts = np.zeros((place.max() + 1, len(kinds)), dtype=np.int64)
        np.add.at(counts, (place, column), 1)
        unit_kind = np.unique(counts, axis=0, return_inverse=True)[1]
    order = np.argsort(unit_kind, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(unit_kind[order])) + 1)


def _log_share(hit: Labels, member: Labels) -> float:
    """Log of the hypergeometric probability that as many hit units as possible are members."""
    n, m, h = len(hit), int(member.sum()), int(hit.sum())
    k = min(m, h)
    return _log_choose(h, k) + _log_choose(n - h, m - k) - _log_choose(n, m)


def _log_choose(n: int, k: int) -> float:
    return float(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def _members(member: ArrayLike) -> Labels:
    array = np.asarray(member)
    if array.ndim != 1 or array.size == 0:
        raise ShapeError(f"member has shape {array.shape}, expected (N,); pass one truth value per pool image")
    if not np.isin(array, (0, 1)).all():
        raise SettingError("member holds values other than True and False; pass True for members, False for controls")
    return array.astype(bool)


def _whole(values: ArrayLike, name: str) -> Positions:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iub":
        raise ShapeError(f"{name} is {array.dtype} of shape {array.shape}, expected (N,) integers; pass one per image")
    return array.astype(np.int64)


def _same_length(first: NDArray, second: NDArray, name: str) -> None:
    if len(first) != len(second):
        raise ShapeError(f"{name} has {len(second)} entries, expected {len(first)}; pass one per pool image")


def _set(design: Design, **arrays: NDArray | None) -> None:
    """Store checked copies in a frozen design."""
    for name, array in arrays.items():
        if array is not None:
            array.setflags(write=False)
        object.__setattr__(design, name, array)
