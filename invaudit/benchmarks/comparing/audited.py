"""The two audits that are compared: what each holds, and whether both are of the same images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from invaudit.benchmarks.comparing.one_sided import in_both, one_sided
from invaudit.records.columns import distinct
from invaudit.records.comparison import ComparisonRow
from invaudit.records.leakage_run import LeakageRun, read_leakage_run
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_object

AUDIT = "audit.json"
NOT_THE_POOL = ("reference", "train-references-on", "ood/")
"""How names of images begin that are neither members nor controls."""
SCORES_OF_POOL = {"membership": "pool", "signals": "scored"}
"""Files of membership scores of single images -> the file that says which images these are."""
ROWS = ("labels", "member")
"""What a pool of answers says of its images."""


@dataclass(frozen=True)
class Audit:
    """One of the two audits.

    Attributes:
        run: Its tables.
        data: Content hash of each image set by name.
    """

    run: LeakageRun
    data: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> "Audit":
        """Return the audit of a folder.

        Raises:
            RunFolderError: It is damaged or not finished.
        """
        data = read_object(folder / AUDIT, "finish the audit first").get("data")
        if not isinstance(data, dict):
            raise RunFolderError(f"{folder / AUDIT} does not say which images were audited; make the audit again")
        return cls(read_leakage_run(folder), data)

    @property
    def pool_data(self) -> dict[str, str]:
        """The hashes of what members and controls come from."""
        return {name: text for name, text in self.data.items() if not name.startswith(NOT_THE_POOL)}

    @property
    def targets(self) -> list[str]:
        """Names of the audited networks."""
        return distinct(row.target for row in (*self.run.tests, *self.run.membership))


class Scored(NamedTuple):
    """A membership score of single images.

    Attributes:
        pool: Arrays that say which images these are; none where that is not kept.
        scores: (N,) higher = more likely a member; NaN for an image that was not scored.
    """

    pool: Mapping[str, np.ndarray]
    scores: NDArray[np.float64]


class Target(NamedTuple):
    """A network of one audit, for one seed."""

    run: LeakageRun
    name: str
    seed: int

    def rows(self, table: Sequence[Any]) -> list[Any]:
        """Return its rows of a table of the audit."""
        return [row for row in table if row.target == self.name and row.seed == self.seed]

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Return what is stored of it under a name, perhaps nothing."""
        return self.run.arrays(self.seed, self.name, name)

    def scored(self, score: str) -> Scored | None:
        """Return a membership score of single images; None where it is not kept."""
        for file, pool in SCORES_OF_POOL.items():
            scores = self.arrays(file)
            if score in scores:
                return Scored(self.arrays(pool), scores[score])
        return None


def refuse_other_images(before: Audit, after: Audit) -> None:
    """Refuse two audits whose images are known to differ, or of which that cannot be known.

    Raises:
        RunFolderError: Members or controls have other hashes, or one of the two audits is of answers alone.
    """
    if before.run.by_answers != after.run.by_answers:
        answers, other = (before, after) if before.run.by_answers else (after, before)
        raise RunFolderError(
            f"{answers.run.path} is the audit of a model by its answers, {other.run.path} is that of a model by "
            "images: nothing says whether both are of the same images; audit both in one way"
        )
    # Answers of two models differ, also to the same images: of these, the rows say more (`refuse_other_rows`).
    if before.run.by_answers:
        return
    old, new = before.pool_data, after.pool_data
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if differing:
        hashes = ", ".join(f"{name}: {_short(old.get(name))} and {_short(new.get(name))}" for name in differing)
        raise RunFolderError(
            f"{before.run.path} and {after.run.path} audited different images ({hashes}): no difference between them "
            "is one between networks; audit both with the same members and controls"
        )


def refuse_other_rows(before: Target, after: Target) -> None:
    """Refuse two audits of answers whose rows are not of the same images, as far as labels tell.

    Raises:
        RunFolderError: Other numbers of rows, or other labels in them.
    """
    old, new = before.arrays("scored"), after.arrays("scored")
    for name in ROWS:
        if name not in old or not np.array_equal(old[name], new.get(name, np.empty(0))):
            raise RunFolderError(
                f"{before.run.path} and {after.run.path} audited answers to other images: the numbers of rows or "
                "their labels differ, so that no row can be paired with another; give both audits the answers to the "
                "same images in the same order"
            )


def _short(text: str | None) -> str:
    return "none" if text is None else text[:12]


def paired_targets(before: Audit, after: Audit) -> tuple[list[tuple[str, str]], list[ComparisonRow]]:
    """Return which network of the one is compared with which of the other, and rows for those without a partner."""
    old, new = before.targets, after.targets
    if len(old) == len(new) == 1:
        return [(old[0], new[0])], []
    return [(name, name) for name in in_both(old, new)], one_sided("membership", "target", old, new)
