"""Tables of a run, made from its stored scores and records alone."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from invaudit.benchmarks.ood.job import ALPHA, job_name
from invaudit.benchmarks.ood.scoring import evenly
from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.records.names import (
    AGGREGATES,
    ATTACK_PREFIX,
    CALIBRATE,
    CONTROL_SAME,
    CONTROL_SPLIT,
    ID_TEST,
    OURS,
    PIXELS,
)
from invaudit.report import is_baseline
from invaudit.runtime.console import progress
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_json
from invaudit.runtime.seeds import child_seed
from invaudit.stats import (
    SeedDraws,
    auroc_interval,
    bootstrap_auroc,
    combine,
    conformal_threshold,
    holm,
    percentile_interval,
    ranking,
    resample_images,
    resample_seeds,
    two_sided_p,
)

TRIVIAL = 0.98
TABLE = (
    "id_set", "seed", "network", "detector", "ood_set", "group", "trivial", "n_id", "n_ood", "auroc", "auroc_low",
    "auroc_high", "aupr_in", "aupr_out", "fpr95", "fpr95_id", "id_accuracy", "seconds", "status", "reason",
)  # fmt: skip
SUMMARY = (
    "id_set", "network", "detector", "ood_set", "group", "trivial", "n_sets", "seeds", "auroc", "auroc_sd", "aupr_in",
    "aupr_out", "fpr95", "fpr95_id", "difference", "difference_low", "difference_high", "p_adjusted", "status",
    "reason",
)  # fmt: skip
METRICS = ("auroc", "aupr_in", "aupr_out", "fpr95", "fpr95_id")


@dataclass(frozen=True)
class StoredJob:
    """Scores and record of one job."""

    seed: int
    network: str
    record: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def pair(self, detector: str, ood_set: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the ID and OOD scores of one row, or None where the detector gave none."""
        own = self.arrays.get(f"{detector}::{ID_TEST}")
        if own is None:
            return None
        if ood_set == CONTROL_SPLIT:
            half = self.half(len(own))
            return own[~half], own[half]
        other = self.arrays.get(f"{detector}::{ood_set}")
        return None if other is None else (own, other)

    def half(self, n: int) -> np.ndarray:
        """Return which of the n ID images that a detector has seen play OOD in the control-split."""
        half = self.arrays["half"]
        return half[evenly(len(half), n)]


def read_jobs(folder: Path, settings: OODBenchmark) -> list[StoredJob]:
    """Read the scores and records of all jobs of a run.

    Raises:
        RunFolderError: Jobs of one seed saw other images, as where a run was begun by another version.
    """
    jobs, sets = [], None
    for seed, network in product(settings.seeds, (PIXELS, *settings.networks)):
        with np.load(folder / "scores" / f"seed-{seed}" / f"{network}.npz", allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        record = read_json(folder / "records" / f"{job_name(seed, network)}.json")
        sets = record["sets"] if network == PIXELS else sets
        if record["sets"] != sets or "half" not in arrays:
            raise RunFolderError(
                f"{folder}: {job_name(seed, network)} was made by another version, with other images; choose another "
                "--out"
            )
        jobs.append(StoredJob(seed, network, record, arrays))
    return jobs


def make_table(jobs: list[StoredJob], id_set: str) -> pd.DataFrame:
    """Return one row for each seed, network, detector and OOD set; columns ``TABLE``."""
    trivial = {(job.seed, name): _is_trivial(job, name) for job in jobs if job.network == PIXELS for name in _sets(job)}
    rows = [
        {"id_set": id_set, "trivial": trivial.get((job.seed, ood_set), False), **_row(job, detector, ood_set, group)}
        for job in jobs
        for detector in job.record["detectors"]
        for ood_set, group in _sets(job).items()
    ]
    return pd.DataFrame(rows, columns=list(TABLE)).astype({"n_id": "Int64", "n_ood": "Int64"})


def _sets(job: StoredJob) -> dict[str, str]:
    return {**job.record["sets"]["groups"], CONTROL_SAME: "control", CONTROL_SPLIT: "control"}


def _row(job: StoredJob, detector: str, ood_set: str, group: str) -> dict[str, Any]:
    about = job.record["detectors"][detector]
    row = {"seed": job.seed, "network": job.network, "detector": detector, "ood_set": ood_set, "group": group}
    missing = job.record["sets"]["missing"].get(ood_set)
    if missing:
        return {**row, "status": "skipped", "reason": missing}
    pair = job.pair(detector, ood_set)
    if pair is None:
        return {**row, "status": about["status"], "reason": about["reason"]}
    interval = auroc_interval(*pair)
    accuracy = float(np.mean(job.arrays["predictions"] == job.arrays["labels"])) if "labels" in job.arrays else None
    return {
        **row,
        **asdict(ranking(*pair)),
        "n_id": len(pair[0]),
        "n_ood": len(pair[1]),
        "auroc_low": interval.low,
        "auroc_high": interval.high,
        "id_accuracy": accuracy,
        "seconds": about["seconds"],
        "status": "ok",
        "reason": "",
    }


def _is_trivial(job: StoredJob, ood_set: str) -> bool:
    pairs = [job.pair(detector, ood_set) for detector in job.record["detectors"]]
    values = [ranking(*pair).auroc for pair in pairs if pair is not None]
    return any(max(value, 1 - value) >= TRIVIAL for value in values)


def make_summary(jobs: list[StoredJob], table: pd.DataFrame, settings: OODBenchmark) -> pd.DataFrame:
    """Return one row for each network, detector and OOD set or aggregate over the seeds; columns ``SUMMARY``."""
    paired = PairedDifferences(jobs, settings)
    paired.resample(table)
    rows = []
    table = table.assign(order=pd.factorize(table["network"] + "\0" + table["detector"])[0])
    for _, own in table.groupby("order", sort=False):
        rows += [_summary_row(paired, pick(own, own["ood_set"] == name)) for name in own["ood_set"].unique()]
        rows += [row for name in AGGREGATES if (row := _aggregate_row(paired, own, name))]
    summary = pd.DataFrame(rows, columns=[*SUMMARY, "p"])
    summary["p_adjusted"] = _adjusted(summary)
    return summary.drop(columns="p")


def _summary_row(paired: "PairedDifferences", rows: pd.DataFrame) -> dict[str, Any]:
    first = rows.iloc[0]
    row = {name: first[name] for name in ("id_set", "network", "detector", "ood_set", "group")}
    row |= {"trivial": bool(rows["trivial"].any()), "n_sets": 1}
    row |= _status(rows)
    good = pick(rows, rows["status"] == "ok")
    row["seeds"] = len(good)
    if good.empty:
        return row
    row |= {metric: good[metric].mean() for metric in METRICS} | {"auroc_sd": good["auroc"].std(ddof=1)}
    if first["group"] != "control":
        row |= paired.difference(first["network"], first["detector"], [first["ood_set"]], "mean")
    return row


def _aggregate_row(paired: "PairedDifferences", own: pd.DataFrame, name: str) -> dict[str, Any] | None:
    how, groups = AGGREGATES[name]
    rows = pick(own, own["group"].isin(groups) & (own["status"] != "skipped"))
    if rows.empty:
        return None
    first = rows.iloc[0]
    row = {column: first[column] for column in ("id_set", "network", "detector")}
    row |= {"ood_set": name, "group": groups[0] if len(groups) == 1 else "near and far", "trivial": False}
    row |= _status(rows)
    row["n_sets"] = rows["ood_set"].nunique()
    # A seed counts only with all its sets: a mean over fewer sets would be another quantity.
    good = pick(rows, rows["status"] == "ok")
    whole = pick(good, good.groupby("seed")["ood_set"].transform("size") == row["n_sets"])
    row["seeds"] = whole["seed"].nunique()
    if whole.empty:
        return row
    by_seed = whole.groupby("seed")
    row |= {metric: _over(by_seed[metric], how, rising=metric.startswith("au")).mean() for metric in METRICS}
    row["auroc_sd"] = _over(by_seed["auroc"], how, rising=True).std(ddof=1)
    return row | paired.difference(first["network"], first["detector"], list(rows["ood_set"].unique()), how)


def _status(rows: pd.DataFrame) -> dict[str, str]:
    bad = pick(rows, rows["status"] != "ok")
    return {"status": "ok", "reason": ""} if bad.empty else dict(bad.iloc[0][["status", "reason"]])


def pick(table: pd.DataFrame, mask: Any) -> pd.DataFrame:
    """Return the rows of a table where the mask holds."""
    return cast(pd.DataFrame, table[mask])


def _over(values: Any, how: str, *, rising: bool) -> pd.Series:
    if how == "mean":
        return values.mean()
    return values.min() if rising else values.max()


class PairedDifferences:
    """Differences to ours, over the same resamples of images for all detectors.

    ID images are shared by all sets, and what several seeds share, by these seeds: images that are the same for all of
    them do not become more by being scored by more networks. Sets that share only some images count as different ones.
    """

    def __init__(self, jobs: list[StoredJob], settings: OODBenchmark) -> None:
        self.jobs = {(job.seed, job.network): job for job in jobs}
        self.seeds = settings.seeds
        drawn: dict[str, np.ndarray] = {}
        self.counts: dict[tuple[int, str], np.ndarray] = {}
        for seed in settings.seeds:
            sets = self.jobs[seed, OURS[0]].record["sets"]
            for name, about in {ID_TEST: sets["splits"]["test"], **sets["ood"]}.items():
                images = about["hash"]
                if images not in drawn:
                    rng = np.random.default_rng(child_seed(0, f"bootstrap/{images}"))
                    drawn[images] = resample_images(about["count"], rng, n_draws=settings.draws)
                self.counts[seed, name] = drawn[images]
        rng = np.random.default_rng(child_seed(settings.seeds[0], "bootstrap/seeds"))
        self.seed_draws: SeedDraws = resample_seeds(len(settings.seeds), rng, n_draws=settings.draws)
        self.cache: dict[tuple[str, str, str], tuple[np.ndarray, np.ndarray] | None] = {}

    def resample(self, table: pd.DataFrame) -> None:
        """Fill the cache for every row that is compared, in threads: numpy works outside the interpreter's lock."""
        compared = table.loc[table["group"] != "control", ["network", "detector", "ood_set"]].drop_duplicates()
        with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
            done = pool.map(lambda key: self.aurocs(*key), compared.itertuples(index=False, name=None))
            for _ in progress(done, total=len(compared), label="comparisons"):
                pass

    def aurocs(self, network: str, detector: str, ood_set: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the AUROC of each seed (S,) and of each seed and resample (S, B), or None where a seed has none."""
        key = (network, detector, ood_set)
        if key not in self.cache:
            self.cache[key] = self._aurocs(*key)
        return self.cache[key]

    def _aurocs(self, network: str, detector: str, ood_set: str) -> tuple[np.ndarray, np.ndarray] | None:
        values, resampled = [], []
        for seed in self.seeds:
            pair = self.jobs[seed, network].pair(detector, ood_set)
            if pair is None:
                return None
            values.append(ranking(*pair).auroc)
            counts = (_of(self.counts[seed, name], own) for name, own in zip((ID_TEST, ood_set), pair, strict=True))
            resampled.append(bootstrap_auroc(*pair, *counts))
        return np.array(values), np.stack(resampled)

    def difference(self, network: str, detector: str, ood_sets: list[str], how: Any) -> dict[str, float]:
        """Return the difference to ours with interval and p-value; nothing for ours, or where a seed has no score."""
        if (network, detector) == OURS:
            return {}
        mine = [self.aurocs(*OURS, name) for name in ood_sets]
        theirs = [self.aurocs(network, detector, name) for name in ood_sets]
        if any(value is None for value in (*mine, *theirs)):
            return {}

        def joined(values: Any, which: int) -> np.ndarray:
            return np.stack([value[which] for value in values], axis=1)

        value = float(
            np.mean(
                combine(joined(theirs, 0)[..., None], over_sets=how)
                - combine(joined(mine, 0)[..., None], over_sets=how)
            )
        )
        resampled = combine(joined(theirs, 1), over_sets=how, seeds=self.seed_draws) - combine(
            joined(mine, 1), over_sets=how, seeds=self.seed_draws
        )
        interval = percentile_interval(resampled, value=value, n=0, over=self.seed_draws.over)
        return {
            "difference": value,
            "difference_low": interval.low,
            "difference_high": interval.high,
            "p": two_sided_p(resampled),
        }


def _of(counts: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the counts of the images that a detector has seen, all or evenly spaced ones."""
    n = len(counts)
    return counts if len(scores) == n else counts[evenly(n, len(scores))]


def _adjusted(summary: pd.DataFrame) -> pd.Series:
    """Return Holm-adjusted p-values; a family is all baselines of one aggregate, or of all sets of one group."""
    adjusted = pd.Series(np.nan, index=summary.index)
    names = zip(summary["network"], summary["detector"], strict=True)
    tested = pick(summary, summary["p"].notna() & np.array([is_baseline(*name) for name in names]))
    family = tested["ood_set"].where(tested["ood_set"].isin(list(AGGREGATES)), tested["group"])
    for _, part in tested.groupby(family):
        adjusted[part.index] = holm(part["p"].to_numpy())
    return adjusted


def _attacked(job: StoredJob, attack: str, fooled: np.ndarray) -> Iterator[dict[str, Any]]:
    """Give for each detector the share of attack images that it accepts (``passed``: that fool the network too)."""
    for detector, about in job.record["detectors"].items():
        calibration, own, found = (
            job.arrays.get(f"{detector}::{where}") for where in (CALIBRATE, ID_TEST, f"attack-{attack}")
        )
        if calibration is None or own is None or found is None:
            yield {"detector": detector, "status": about["status"], "reason": about["reason"]}
            continue
        accepted = found <= conformal_threshold(calibration, ALPHA)
        yield {
            "detector": detector,
            "n": len(found),
            "accepted": float(accepted.mean()),
            "passed": float((accepted & fooled[evenly(len(fooled), len(found))]).mean()),
            "auroc": ranking(own, found).auroc,
            "status": "ok",
            "reason": "",
        }


HELD_OUT = ("false_alarms_held_out", "band_low", "band_high")
"""False alarms on held-out ID images of the training file, and the band that they should lie in."""


def make_side_tables(jobs: list[StoredJob], id_set: str) -> dict[str, pd.DataFrame]:
    """Return ``cost``, ``calibration``, ``weights``, ``decisions``, ``resistance`` and ``attacks``."""
    columns = {
        "cost": ["steps", "seconds", "inversions"],
        "calibration": ["n", "ece", "id_accuracy", "alpha", "false_alarms", *HELD_OUT],
        "weights": ["part", "weight"],
        "decisions": ["ood_set", "n", "garbage"],
        "resistance": ["attack", "n", "resistance", "accepted", "passed", "outcome"],
        "attacks": ["attack", "detector", "n", "accepted", "passed", "auroc", "status", "reason"],
    }
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in columns}
    for job in jobs:
        head = {"id_set": id_set, "seed": job.seed, "network": job.network}
        if "cost" in job.record:
            tables["cost"].append({**head, **job.record["cost"]})
        if "calibration" in job.record:
            right = job.arrays["predictions"] == job.arrays["labels"]
            about = {"n": len(right), "id_accuracy": float(right.mean())}
            tables["calibration"].append({**head, **job.record["calibration"], **about})
        weights = job.record.get("weights", {})
        tables["weights"] += [{**head, "part": part, "weight": weight} for part, weight in weights.items()]
        for ood_set in (ID_TEST, *job.record["sets"]["groups"]):
            found = job.arrays.get(f"garbage-logit::{ood_set}")
            if found is not None:
                # The papers' hard decision: the garbage class has the largest output.
                share = float((found > 0).mean())
                tables["decisions"].append({**head, "ood_set": ood_set, "n": len(found), "garbage": share})
        for attack, outcome in job.record.get("attacks", {}).items():
            fooled = job.arrays.get(f"fooled::{ATTACK_PREFIX}{attack}")
            about = {"n": 0} if fooled is None else {"n": len(fooled), "resistance": 1 - float(fooled.mean())}
            detectors = [] if fooled is None else list(_attacked(job, attack, fooled))
            ours = next((row for row in detectors if row["detector"] == OURS[1]), {})
            shares = {name: ours.get(name) for name in ("accepted", "passed")}
            row = {**head, "attack": attack}
            tables["resistance"].append({**row, **about, **shares, "outcome": outcome})
            tables["attacks"] += [{**row, **detector} for detector in detectors]
    return {
        name: pd.DataFrame(rows, columns=["id_set", "seed", "network", *columns[name]]) for name, rows in tables.items()
    }
