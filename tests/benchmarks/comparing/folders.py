"""Folders of audits, made by hand with known scores, and what holds of every comparison."""

import numpy as np
import pytest

from invaudit.records import (
    LEAKAGE_RUN,
    ComparisonRow,
    MembershipRow,
    ReadinessRow,
    TargetRow,
    TestRow,
    read_rows,
    write_rows,
)
from invaudit.runtime.files import npz_bytes, write_bytes, write_json
from invaudit.stats import auroc

MEMBER = np.arange(60) % 2 == 0
HASHES = {"members": "a" * 64, "controls": "b" * 64, "reference": "c" * 64, "ood/cats": "d" * 64}


def save_audit(folder, scores, *, name="target", data=HASHES, methods=("kkt",), seed=0, member=MEMBER, keep=True,
               config="seeds: [0]\n"):  # fmt: skip
    """Save the folder of an audit of one network, with these membership scores of the pool by their names."""
    write_json(folder / "records/run.json", {"kind": LEAKAGE_RUN.name, "schema": LEAKAGE_RUN.schema})
    write_json(folder / "audit.json", {"data": data})
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    of = {"target": name, "seed": seed}
    tests = [TestRow(**of, method=of_test, metric="ssim", p_adjusted=0.2, verdict="no-evidence", status="ok")
             for of_test in methods]  # fmt: skip
    write_rows(folder / "table.csv", TestRow, tests)
    memberships = []
    for score, values in scores.items():
        value = None if values is None else auroc(values[~member], values[member])
        status = {"status": "ok"} if values is not None else {"status": "failed", "reason": "no gradient"}
        memberships.append(MembershipRow(**of, score=score, auroc=value, **status))
    write_rows(folder / "membership.csv", MembershipRow, memberships)
    write_rows(folder / "targets.csv", TargetRow, [TargetRow(**of, train_accuracy=1.0, control_accuracy=0.75)])
    readiness = [ReadinessRow(detector="joint", ood_set="cats", group="given", auroc=0.9, rejected=0.5)]
    write_rows(folder / "readiness.csv", ReadinessRow, readiness)
    if keep:
        stored = {score: values for score, values in scores.items() if values is not None}
        place = folder / f"scores/seed-{seed}/{name}"
        pool = {
            "labels": np.arange(60) % 3,
            "member": member,
            "stratum": np.arange(60) % 3,
            "source": np.arange(60) // 2,
        }
        write_bytes(place / "membership.npz", npz_bytes(stored))
        write_bytes(place / "pool.npz", npz_bytes(pool))
    return folder


def only(rows, **fields):
    found = [row for row in rows if all(getattr(row, name) == value for name, value in fields.items())]
    assert len(found) == 1, found
    return found[0]


def check_rows(found, folder):
    """Say how the two values of every row stand to one another, and write and read them."""
    assert found.rows
    assert set(map(id, found.shown)) <= set(map(id, found.rows))
    for row in found.rows:
        has_interval = None not in (row.difference, row.difference_low, row.difference_high)
        assert has_interval == (row.compared == "paired")
        assert row.reason
        if row.compared == "paired":
            assert row.difference == pytest.approx(row.after - row.before, abs=1e-12)
            assert row.difference_low <= row.difference <= row.difference_high
    write_rows(folder / "comparison.csv", ComparisonRow, found.rows)
    assert read_rows(folder / "comparison.csv", ComparisonRow) == found.rows
