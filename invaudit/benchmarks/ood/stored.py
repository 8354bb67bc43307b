"""What the jobs of a run have stored: scores and records, read back for tables and controls."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from invaudit.benchmarks.ood.scoring import evenly
from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.records.folder import read_record
from invaudit.records.names import (
    CONTROL_SAME,
    CONTROL_SPLIT,
    HALF,
    ID_TEST,
    LABELS,
    PIXELS,
    PREDICTIONS,
    job_name,
    scores_file,
    scores_key,
)
from invaudit.records.ood import DetectorInfo, OodJobRecord
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_arrays


class ScorePair(NamedTuple):
    """The scores of one detector that one row compares."""

    id_scores: np.ndarray
    """(n_id,) scores of ID test images."""
    ood_scores: np.ndarray
    """(n_ood,) scores of OOD images."""


@dataclass(frozen=True)
class StoredJob:
    """Scores and record of one job.

    Attributes:
        seed: Its seed.
        network: Its network.
        record: What the job recorded.
        arrays: What it stored: scores by `scores_key`, and what lies beside them.
    """

    seed: int
    network: str
    record: OodJobRecord
    arrays: dict[str, np.ndarray]

    def groups(self) -> dict[str, str]:
        """Return the group of every OOD set and of the control sets, in the order of the table."""
        return self.record.sets.groups | {CONTROL_SAME: "control", CONTROL_SPLIT: "control"}

    def scores(self, detector: str, image_set: str) -> np.ndarray | None:
        """Return the scores of a detector on a set, or None where there are none."""
        return self.arrays.get(scores_key(detector, image_set))

    def pair(self, detector: str, ood_set: str) -> ScorePair | None:
        """Return the ID and OOD scores of one row, or None where the detector gave none."""
        id_scores = self.scores(detector, ID_TEST)
        if id_scores is None:
            return None
        if ood_set == CONTROL_SPLIT:
            half = self.half(len(id_scores))
            return ScorePair(id_scores[~half], id_scores[half])
        ood_scores = self.scores(detector, ood_set)
        return None if ood_scores is None else ScorePair(id_scores, ood_scores)

    def half(self, n: int) -> np.ndarray:
        """Return which of the n ID images that a detector has seen play OOD in the control-split."""
        half = self.arrays[HALF]
        return half[evenly(len(half), n)]

    def correct(self) -> np.ndarray | None:
        """Return for each ID test image whether the network is right, (n,) bool; None for the pixel statistics."""
        if LABELS not in self.arrays:
            return None
        return self.arrays[PREDICTIONS] == self.arrays[LABELS]


def read_jobs(folder: Path, settings: OODBenchmark) -> list[StoredJob]:
    """Read the scores and records of all jobs of a run.

    Raises:
        RunFolderError: Jobs of one seed saw other images, as where a run was begun by another version.
    """
    jobs, sets = [], None
    for seed, network in product(settings.seeds, (PIXELS, *settings.networks)):
        arrays = read_arrays(folder / scores_file(seed, network))
        name = job_name(seed, network)
        record = read_record(folder, name, OodJobRecord)
        sets = record.sets if network == PIXELS else sets
        if record.sets != sets or HALF not in arrays:
            raise RunFolderError(
                f"{folder}: {name} was made by another version, with other images; choose another --out"
            )
        jobs.append(StoredJob(seed, network, record, arrays))
    return jobs


def detectors_of(jobs: list[StoredJob]) -> list[DetectorInfo]:
    """Return what each detector of a run is, once, in the order of the table."""
    infos: dict[str, DetectorInfo] = {}
    for job in jobs:
        for outcome in job.record.detectors.values():
            infos[outcome.name] = DetectorInfo.of(outcome)
    return list(infos.values())
