"""Files of probabilities: what a model answered, one row for each image, where the model itself is not at hand."""

import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import DataError, MissingDataError
from invaudit.runtime.files import content_hash
from invaudit.runtime.paths import is_file, read_bytes

EXPECTED = "expected a CSV file with the columns label, p0, p1, ..., one row for each image"
ROUNDING = 0.01
"""How far the probabilities of an image may be from a sum of 1, for what printing them has rounded."""
LEAST = 1e-12
"""Probabilities below count as this one: printed numbers end somewhere."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answered.

    Attributes:
        labels: (N,) int64 class of each image.
        probabilities: (N, K) float64.
        hash: Content hash of the file.
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    hash: str

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) whether the most probable class is the image's."""
        return self.probabilities.argmax(1) == self.labels

    @property
    def loss(self) -> NDArray[np.float64]:
        """(N,) the log-probability of the class: minus the cross-entropy; higher = more likely a member."""
        return np.log(np.maximum(self._own, LEAST))

    @property
    def log_odds(self) -> NDArray[np.float64]:
        """(N,) the log-odds of the class; the sum of the others, since one less a probability near 1 is rounding."""
        return np.log(np.maximum(self._own, LEAST)) - np.log(np.maximum(self._others.sum(1), LEAST))

    @property
    def margin(self) -> NDArray[np.float64]:
        """(N,) the log-probability of the class less the largest other."""
        return self.loss - np.log(np.maximum(self._others.max(1), LEAST))

    @property
    def _own(self) -> NDArray[np.float64]:
        return np.take_along_axis(self.probabilities, self.labels[:, None], 1)[:, 0]

    @property
    def _others(self) -> NDArray[np.float64]:
        others = self.probabilities.copy()
        np.put_along_axis(others, self.labels[:, None], 0, 1)
        return others


def read_answers(path: Path) -> Answers:
    """Read a file of probabilities.

    Raises:
        MissingDataError: There is no such file.
        DataError: Other columns, a label that is no class, or numbers that are no probabilities; the line is named.
    """
    import pandas as pd  # takes long to import

    if not is_file(path, DataError):
        raise MissingDataError(f"{path} is not there; check the path ({EXPECTED})")
    content = read_bytes(path, DataError)
    with foreign(f"{path} cannot be read as numbers", DataError, remedy=EXPECTED), warnings.catch_warnings():
        warnings.simplefilter("error")  # of lines that are longer than the header
        table = pd.read_csv(BytesIO(content), encoding="utf-8-sig", dtype=np.float64, index_col=False)
    columns = list(table.columns)
    classes = len(columns) - 1
    if classes < 2 or columns != ["label", *(f"p{number}" for number in range(classes))] or not len(table):
        raise DataError(f"{path} has the columns {', '.join(map(str, columns[:5]))} and {len(table)} rows; {EXPECTED}")
    values = table.to_numpy()
    labels, probabilities = values[:, 0], values[:, 1:]
    is_class = (labels >= 0) & (labels < classes) & (labels == np.floor(labels))
    are_shares = ((probabilities >= 0) & (probabilities <= 1)).all(axis=1)
    _refuse(path, is_class, f"a label from 0 to {classes - 1}")
    _refuse(path, np.asarray(are_shares), "probabilities from 0 to 1")
    _refuse(path, np.abs(probabilities.sum(1) - 1) <= ROUNDING, "probabilities that sum to 1")
    return Answers(labels.astype(np.int64), probabilities, content_hash(content))


def _refuse(path: Path, right: NDArray[np.bool_], expected: str) -> None:
    """Refuse a file of which a row is not right; NaN never is."""
    if not right.all():
        n_wrong = int((~right).sum())
        raise DataError(f"{path}, line {int(right.argmin()) + 2}: expected {expected} ({n_wrong} such line(s))")
