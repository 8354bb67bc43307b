"""Two OOD runs compared: known differences, a brute-force bootstrap, what does not pair."""

import shutil

import numpy as np
import pytest

from invaudit.benchmarks.comparing import compare
from invaudit.benchmarks.ood.differences import PairedDifferences
from invaudit.benchmarks.ood.stored import read_jobs
from invaudit.records import read_ood_run, write_rows
from invaudit.records.names import scores_file, scores_key
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import npz_bytes, read_arrays, read_object, write_bytes, write_json
from invaudit.stats import fpr95, ranking
from tests.benchmarks.comparing.folders import check_rows, only

# Beside the tests that have made the same small run.
pytestmark = [pytest.mark.xdist_group("benchmark"), pytest.mark.slow]


@pytest.fixture
def ood(finished, tmp_path, monkeypatch):
    """A small OOD run, and a copy of it whose scores of one detector on one set have been changed."""
    monkeypatch.setattr("invaudit.benchmarks.comparing.ood.DRAWS", 200)
    after = tmp_path / "after"
    shutil.copytree(finished, after)
    for seed in (0, 1):
        path = after / scores_file(seed, "full")
        arrays = read_arrays(path)
        arrays[scores_key("joint", "letters")] = arrays[scores_key("joint", "letters")] - 1.0
        write_bytes(path, npz_bytes(arrays))
    return finished, after


def test_detectors_are_paired_over_the_same_resamples(ood, settings, tmp_path):
    found = compare(*ood)
    check_rows(found, tmp_path)
    rows = found.rows
    assert {(row.target, row.name) for row in found.shown} == {("full", "joint")}
    row = only(rows, target="full", name="joint", ood_set="letters", figure="auroc")
    jobs = [{(job.seed, job.network): job for job in read_jobs(folder, settings)} for folder in ood]
    values = []
    for of_run in jobs:
        pairs = [of_run[seed, "full"].pair("joint", "letters") for seed in (0, 1)]
        values.append(np.mean([[ranking(*pair).auroc, fpr95(*pair)] for pair in pairs], axis=0))
    (old, old_fpr), (new, new_fpr) = values
    assert (row.before, row.after, row.difference) == pytest.approx((old, new, new - old))
    assert row.difference_low <= row.difference <= row.difference_high < 0
    rate = only(rows, target="full", name="joint", ood_set="letters", figure="fpr95")
    assert (rate.before, rate.after, rate.better) == (pytest.approx(old_fpr), pytest.approx(new_fpr), "lower")
    # By brute force: each resample made by repeating scores.
    counts = PairedDifferences(list(jobs[0].values()), settings).counts
    drawn = []
    for place in range(settings.draws):
        of_runs = []
        for of_run in jobs:
            values = []
            for seed in (0, 1):
                pair = of_run[seed, "full"].pair("joint", "letters")
                own, other = (counts[seed, name][:, place] for name in ("id-test", "letters"))
                values.append(ranking(np.repeat(pair.id_scores, own), np.repeat(pair.ood_scores, other)).auroc)
            of_runs.append(np.mean(values))
        drawn.append(of_runs[1] - of_runs[0])
    low, high = np.quantile(drawn, (0.025, 0.975))
    assert (row.difference_low, row.difference_high) == pytest.approx((low, high), abs=0.3 * (high - low))
    same = only(rows, target="full", name="joint", ood_set="photos", figure="auroc")
    assert (same.difference, same.difference_low, same.difference_high) == (0, 0, 0)


def test_sets_and_detectors_of_one_run_alone_are_named(ood):
    before, after = ood
    for name in ("full", "none", "plain", "random"):
        path = after / f"records/seed-0-{name}.json"
        record = read_object(path)
        record["sets"]["ood"]["photos"]["hash"] = "0" * 64
        write_json(path, record)
    table = read_ood_run(after).table
    write_rows(after / "table.csv", type(table[0]), [row for row in table if row.detector != "KNN"])
    rows = compare(before, after).rows
    assert only(rows, target=None, ood_set="photos").reason == "the set holds other images in the second run"
    assert only(rows, target="plain", name="KNN").reason == "only in the first run"
    far = only(rows, target="full", name="joint", ood_set="mean-far")
    assert (far.compared, far.reason) == ("not-paired", "not all of its sets are paired")


def test_other_id_images_are_refused(ood):
    before, after = ood
    for seed in (0, 1):
        for name in ("full", "none", "plain", "random"):
            path = after / f"records/seed-{seed}-{name}.json"
            record = read_object(path)
            record["sets"]["splits"]["test"]["hash"] = "0" * 64
            write_json(path, record)
    with pytest.raises(RunFolderError, match="different ID images"):
        compare(before, after)
