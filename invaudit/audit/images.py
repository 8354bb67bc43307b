"""What an audit says of every image of its pool, and which of them it claims as members."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from invaudit.records.model_audit import ClaimsRecord, ImageRow, Question
from invaudit.runtime.errors import InputError
from invaudit.stats import Claims, Observational, make_claims

Scores = NDArray[np.float64]
Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class StoredPool:
    """A pool as a run folder keeps it, without pictures.

    Attributes:
        design: Who is a member, in which stratum and group.
        given: (N,) position of each image among the members, or the controls, as they were given.
        labels: (N,) its class.
        files: File of each image; none where they came from no files of their own.
        class_names: Name of each class; none where there are none.
    """

    design: Observational
    given: Positions
    labels: Positions
    files: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "StoredPool":
        """Return it from the arrays of ``audit.store.pool_arrays``."""
        member, unit = arrays["member"], arrays["unit"]
        group = None if len(np.unique(unit)) == len(unit) else unit
        return cls(
            Observational(member, arrays["stratum"], group),
            arrays["source"],
            arrays["labels"],
            tuple(map(str, arrays.get("files", ()))),
            tuple(map(str, arrays.get("class_names", ()))),
        )


@dataclass(frozen=True, eq=False)
class ScoredPart:
    """Scores of one question on the same images of the pool.

    Attributes:
        positions: (M,) positions of the images in the pool.
        scores: Name -> (M,) score, higher = more likely a member.
    """

    positions: Positions
    scores: Mapping[str, Scores]


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest reconstruction of its class of each compared image.

    Attributes:
        positions: (M,) positions of the images in the pool.
        index: ``METHOD:METRIC`` -> (M,) position of the reconstruction, -1 where the method made none of the class.
        value: The same -> (M,) its similarity in the units of the metric.
        sign: The same -> 1 where a higher value is more similar, else -1.
    """

    positions: Positions
    index: Mapping[str, Positions]
    value: Mapping[str, Scores]
    sign: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class _Said:
    """The smallest p-value of each image over some scores, with the score; NaN and empty where it has none."""

    p: Scores
    score: NDArray[np.str_]
    claimed: NDArray[np.bool_]
    note: str


def parts_of(scores: Mapping[str, Scores]) -> list[ScoredPart]:
    """Return scores that are NaN for some images as parts: those that cover the same images belong together."""
    grouped: dict[bytes, tuple[Positions, dict[str, Scores]]] = {}
    for name, values in scores.items():
        positions = np.flatnonzero(np.isfinite(values))
        grouped.setdefault(positions.tobytes(), (positions, {}))[1][name] = values[positions]
    return [ScoredPart(positions, group) for positions, group in grouped.values()]


def image_rows(
    pool: StoredPool, membership: list[ScoredPart], reconstruction: list[ScoredPart], near: Nearest, *, rate: float
) -> tuple[list[ImageRow], ClaimsRecord]:
    """Return a row for every image of the pool, and how many of them are claimed.

    Args:
        pool: The pool that membership is scored on.
        membership: The declared membership scores.
        reconstruction: Membership by the similarity to the nearest reconstruction.
        near: The nearest reconstructions.
        rate: False-discovery rate of the claims of each question.
    """
    by_membership = _said(pool.design, membership, rate)
    by_reconstruction = _said(pool.design, reconstruction, rate)
    place = np.full(len(pool.design), -1)
    place[near.positions] = np.arange(len(near.positions))
    ranks = {name: _ranks(near.sign[name] * value) for name, value in near.value.items()}
    rows = []
    for position in range(len(pool.design)):
        row = _row_of(pool, position)
        row |= _fields(by_membership, position, "membership")
        row |= _fields(by_reconstruction, position, "reconstruction")
        name = str(by_reconstruction.score[position])
        if name and near.index[name][place[position]] >= 0:
            row["reconstruction"] = int(near.index[name][place[position]])
            row["similarity"] = float(near.value[name][place[position]])
            row["rank"] = int(ranks[name][place[position]])
        rows.append(ImageRow.model_validate(row))
    rows.sort(key=lambda row: (row.side != "member", row.index))
    return rows, _record(by_membership, by_reconstruction, rate)


def _record(by_membership: _Said, by_reconstruction: _Said, rate: float) -> ClaimsRecord:
    notes = {"membership": by_membership.note, "reconstruction": by_reconstruction.note}
    return ClaimsRecord(
        rate=rate,
        membership=int(by_membership.claimed.sum()),
        reconstruction=int(by_reconstruction.claimed.sum()),
        notes={question: note for question, note in notes.items() if note},
    )


def _row_of(pool: StoredPool, position: int) -> dict[str, object]:
    """Return what an image is."""
    label = int(pool.labels[position])
    return {
        "side": "member" if pool.design.member[position] else "control",
        "index": int(pool.given[position]),
        "file": pool.files[position] if pool.files else None,
        "label": label,
        "class_name": pool.class_names[label] if 0 <= label < len(pool.class_names) else None,
    }


def _fields(said: _Said, position: int, question: Question) -> dict[str, object]:
    if np.isnan(said.p[position]):
        return {}
    return {
        f"{question}_score": str(said.score[position]),
        f"{question}_p": float(said.p[position]),
        f"{question}_claimed": bool(said.claimed[position]),
    }


def _said(design: Observational, parts: list[ScoredPart], rate: float) -> _Said:
    """Make the claims of one question: each score at its share of the rate, on the images that it covers."""
    n_scores = sum(len(part.scores) for part in parts)
    p, claimed = np.full(len(design), np.nan), np.zeros(len(design), bool)
    score = np.full(len(design), "", dtype=object)
    notes = []
    for part in parts:
        try:
            made: Claims = make_claims(part.scores, design.subset(part.positions), q=rate * len(part.scores) / n_scores)
        except InputError as error:
            notes.append(str(error))
            continue
        claimed[part.positions] |= made.claimed
        if not made.attainable:
            notes.append(made.reason)
        for name, values in made.p_values.items():
            smaller = np.isnan(p[part.positions]) | (values < p[part.positions])
            p[part.positions[smaller]] = values[smaller]
            score[part.positions[smaller]] = name
    return _Said(p, score, claimed, "; ".join(dict.fromkeys(notes)))


def _ranks(similarity: Scores) -> Positions:
    """Return the rank of each similarity, 1 for the largest, ties by position."""
    order = np.argsort(-similarity, kind="stable")
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks
