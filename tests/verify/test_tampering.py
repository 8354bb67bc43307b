"""Whatever is changed in a folder is found, and the place is named: file, row, column, what is stored and recomputed.

Changes of what follows from the rest do not hide one another, so one copy has all of them, and each has to be found;
what the rest follows from is changed alone.
"""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from invaudit.verify import verify
from tests.verify.changing import (
    cells,
    replace_text,
    set_array,
    set_cell,
    set_leaf,
    swap,
    with_line,
    without_array,
    without_column,
    without_line,
)

pytestmark = [pytest.mark.xdist_group("verify"), pytest.mark.slow]
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"

DERIVED = {
    "a similarity of the table": (
        lambda run: set_cell(run / "table.csv", 2, "similarity_member", "0.987"),
        ("table.csv", "metric cosine", "similarity_member", "0.987"),
    ),
    "the word of a verdict": (
        lambda run: set_cell(run / "table.csv", 2, "verdict", "underpowered"),
        ("table.csv", "metric cosine", "verdict", "underpowered"),
    ),
    "a scoring limit": (
        lambda run: set_cell(run / "table.csv", 3, "scoring_limit", "1"),
        ("table.csv", "metric ssim", "scoring_limit", "1"),
    ),
    "an adjusted p-value": (
        lambda run: set_cell(run / "table.csv", 3, "p_adjusted", "0.0001"),
        ("table.csv", "metric ssim", "p_adjusted", "0.0001"),
    ),
    "p-values that change places": (
        lambda run: swap(run / "controls.csv", 2, 3, "p_value"),
        ("controls.csv", "metric cosine", "p_value", None),
    ),
    "the verdict of a negative control": (
        lambda run: set_cell(run / "controls.csv", 4, "verdict", "no"),
        ("controls.csv", "kind negative", "verdict", "no"),
    ),
    "the AUROC of a membership score": (
        lambda run: set_cell(run / "membership.csv", 3, "auroc", "0.5001"),
        ("membership.csv", "score gradient-norm", "auroc", "0.5001"),
    ),
    "the end of an interval": (
        lambda run: set_cell(run / "membership.csv", 5, "auroc_high", "1.5"),
        ("membership.csv", "score kkt:ssim", "auroc_high", "1.5"),
    ),
    "a missing row": (
        lambda run: without_line(run / "membership.csv", 2),
        ("membership.csv", "score attribution", "", None),
    ),
    "an added row": (
        lambda run: with_line(run / "membership.csv", score="found-out"),
        ("membership.csv", "score found-out", "", None),
    ),
    "a mean of the summary": (
        lambda run: set_cell(run / "summary.csv", 2, "auroc", "0.99"),
        ("summary.csv", "score attribution", "auroc", "0.99"),
    ),
    "a count of the summary": (
        lambda run: set_cell(run / "summary.csv", 4, "low_p", "7"),
        ("summary.csv", "score kkt:cosine", "low_p", "7"),
    ),
    "a missing column": (
        lambda run: without_column(run / "papers_count.csv", "controls"),
        ("papers_count.csv", "", "controls", None),
    ),
    "the direction of a metric": (
        lambda run: set_cell(run / "metrics.csv", 2, "better", "lower"),
        ("metrics.csv", "metric cosine", "better", "lower"),
    ),
    "the hash of a network": (
        lambda run: set_cell(run / "targets.csv", 3, "hash", "0" * 64),
        ("targets.csv", "target mlp", "hash", "0" * 64),
    ),
    "a verdict in audit.json": (
        lambda run: set_leaf(run / "audit.json", ["targets", 0, "verdict"], "proven"),
        ("audit.json", "targets.0.verdict", "", "proven"),
    ),
    "a number in audit.json": (
        lambda run: set_leaf(run / "audit.json", ["membership", 0, "auroc"], 0.5),
        ("audit.json", "membership.0.auroc", "", "0.5"),
    ),
    "a text in audit.json": (
        lambda run: set_leaf(run / "audit.json", ["limits"], "none"),
        ("audit.json", "limits", "", "none"),
    ),
    "a number on the page": (
        lambda run: replace_text(run / "report.html", r"0\.\d\d\d", "0.0x1"),
        ("report.html", "line", "", None),
    ),
    "the word of a verdict on the page": (
        lambda run: replace_text(run / "report.html", "inconclusive", "harmless"),
        ("report.html", "line", "", None),
    ),
    "a missing figure": (
        lambda run: (run / "figures/quantiles.png").unlink(),
        ("figures/quantiles.png", "", "", None),
    ),
    "another figure": (
        lambda run: shutil.copyfile(run / "report.html", run / "figures/membership.png"),
        ("figures/membership.png", "", "", None),
    ),
}
"""What is changed -> how, and where it is found: file, a part of the place, column, stored value if it is known."""


@pytest.fixture(scope="module")
def changed(leakage_run, tmp_path_factory):
    """What is found in a run with every change of `DERIVED` at once."""
    run = shutil.copytree(leakage_run, tmp_path_factory.mktemp("changed") / "run")
    for change, _ in DERIVED.values():
        change(run)
    return verify(run).differences


@pytest.mark.parametrize("what", DERIVED)
def test_a_change_of_what_follows_is_found(changed, what):
    file, place, column, stored = DERIVED[what][1]
    found = [one for one in changed if one.file == file and place in one.place and one.column == column]
    assert found
    assert stored is None or found[0].stored == stored
    assert found[0].words or found[0].stored != found[0].recomputed


def test_nothing_else_is_found(changed):
    # The two p-values that changed places may be two differences, or none where they are equal.
    assert len(changed) <= len(DERIVED) + 1


def _moved(scores):
    """Make the score of a member that of the surest control."""
    scores[scores.argmax()] = scores.min() - 1
    return scores


MLP = "scores/seed-3/mlp"
RECORD = "records/seed-3-mlp.json"
PLAIN = "scores/seed-0/plain.npz"
SIGNALS, REFERENCES = "scores/seed-0/target/signals.npz", "scores/seed-0/target/references.npz"
READINESS = "scores/seed-0/target/readiness.npz"
ROOTS = {
    "a number of the config": (
        "leakage_run",
        lambda run: replace_text(run / "config.yaml", "alpha: 0.01", "alpha: 0.5"),
        ["config.yaml"],
    ),
    "a hash of the inputs": (
        "leakage_run",
        lambda run: set_leaf(run / "records/run.json", ["inputs", 0], "0" * 64),
        ["config.yaml"],
    ),
    "the hash of the data": (
        "leakage_run",
        lambda run: set_leaf(run / "audit.json", ["data", "digits"], "0" * 64),
        ["audit.json, data.digits", "audit.json"],
    ),
    "the command": (
        "leakage_run",
        lambda run: set_leaf(run / "environment.json", ["command"], ["another"]),
        ["audit.json", "report.html"],
    ),
    "a p-value of a record": (
        "leakage_run",
        lambda run: set_leaf(run / RECORD, ["tests", "kkt", "ssim", "p_value"], 0.0123),
        [RECORD],
    ),
    "the record of a pool": (
        "leakage_run",
        lambda run: set_leaf(run / "records/seed-3-pool-20.json", ["blind", "auroc"], 0.01),
        ["table.csv", "report.html"],
    ),
    "a missing record": (
        "leakage_run",
        lambda run: (run / "records/seed-3-negative.json").unlink(),
        ["records"],
    ),
    "a membership score": (
        "leakage_run",
        lambda run: set_array(run / f"{MLP}/membership.npz", "loss", _moved),
        [f"{MLP}/membership.npz", RECORD, "membership.csv", "summary.csv", "audit.json"],
    ),
    "a membership score that changes no rank": (
        "leakage_run",
        lambda run: set_array(run / f"{MLP}/membership.npz", "loss", lambda a: a * 2),
        [f"{MLP}/membership.npz"],
    ),
    "who is a member": (
        "leakage_run",
        lambda run: set_array(run / f"{MLP}/pool.npz", "member", lambda a: ~a),
        [f"{MLP}/pool.npz", RECORD, "table.csv"],
    ),
    "how similar a reconstruction is": (
        "leakage_run",
        lambda run: set_array(run / f"{MLP}/kkt.npz", "ssim-value", lambda a: a[::-1]),
        [f"{MLP}/kkt.npz", RECORD, "table.csv"],
    ),
    "lists that are none": (
        "leakage_run",
        lambda run: set_array(run / f"{MLP}/kkt.npz", "ssim-value", lambda a: a[:, ::-1]),
        [f"{MLP}/kkt.npz", f"{MLP}/kkt.npz, ssim"],
    ),
    "an array of another shape": (
        "leakage_run",
        lambda run: set_array(run / f"{MLP}/membership.npz", "loss", lambda a: a[:, None]),
        [f"{MLP}/membership.npz", f"{MLP}/membership.npz, loss"],
    ),
    "missing scores": (
        "leakage_run",
        lambda run: shutil.rmtree(run / "scores"),
        ["scores/seed-3/attack-control/kkt.npz", "records/seed-3-attack-control.json"],
    ),
    "a score of an OOD set": (
        "ood_run",
        lambda run: set_array(run / PLAIN, "KNN::letters", lambda a: a * 0),
        [PLAIN, "table.csv", "summary.csv"],
    ),
    "a score of an ID image": (
        "ood_run",
        lambda run: set_array(run / PLAIN, "KNN::id-test", lambda a: a + 1e-6),
        [PLAIN, "records"],
    ),
    "halves of the ID images": (
        "ood_run",
        lambda run: set_array(run / PLAIN, "half", lambda a: ~a),
        [PLAIN, "table.csv"],
    ),
    "the hash of an image set": (
        "ood_run",
        lambda run: set_leaf(run / "records/seed-0-none.json", ["sets", "ood", "letters", "hash"], "0" * 64),
        ["records/seed-0-none.json, sets.ood.letters", "records"],
    ),
    "a calibration": (
        "ood_run",
        lambda run: set_leaf(run / "records/seed-0-plain.json", ["calibration", "ece"], 0.001),
        ["records/seed-0-plain.json"],
    ),
    "a number of readiness": (
        "audit_run",
        lambda run: set_cell(run / "readiness.csv", 3, "rejected", "0.9999"),
        ["readiness.csv"],
    ),
    "a score of readiness": (
        "audit_run",
        lambda run: set_array(run / READINESS, "joint::calibrate", lambda a: a * 0),
        [READINESS, "records/readiness.json", "readiness.csv"],
    ),
    "a membership score of an audit": (
        "audit_run",
        lambda run: set_array(run / SIGNALS, "loss", _moved),
        [SIGNALS, "records/membership.json", "membership_tests.csv"],
    ),
    "a score by reference models": (
        "audit_run",
        lambda run: set_array(run / SIGNALS, "rmia", lambda a: a + 1e-4),
        [SIGNALS],
    ),
    "what reference models answer": (
        "audit_run",
        lambda run: set_array(run / REFERENCES, "answers", lambda a: a[::-1] + 1),
        [REFERENCES, SIGNALS],
    ),
    "a score of an audit from answers": (
        "answers_run",
        lambda run: set_array(run / SIGNALS, "loss", _moved),
        [SIGNALS, "records/seed-0-target.json", "membership_tests.csv"],
    ),
    "a repeat": (
        "audit_run",
        lambda run: set_leaf(run / "records/repeats.json", [0, "p_adjusted"], 0.987),
        ["records/repeats.json"],
    ),
    "claims": (
        "audit_run",
        lambda run: set_leaf(run / "records/claims.json", ["rate"], 0.5),
        ["records/claims.json"],
    ),
    "the record of readiness": (
        "audit_run",
        lambda run: set_leaf(run / "records/readiness.json", ["rows", 1, "auroc"], 0.1234),
        ["records/readiness.json"],
    ),
    "the hash of the audited model": (
        "audit_run",
        lambda run: set_leaf(run / "records/seed-0-target.json", ["target", "hash"], "0" * 64),
        ["records/seed-0-target.json, target.hash", "targets.csv", "audit.json"],
    ),
    "a neighbour's similarity": (
        "score_run",
        lambda run: set_cell(run / "neighbours.csv", 4, "similarity_control", "-0.9"),
        ["neighbours.csv"],
    ),
    "a missing neighbour": (
        "score_run",
        lambda run: without_line(run / "neighbours.csv", 4),
        ["neighbours.csv"],
    ),
    "a pool that is said to have shifted": (
        "score_run",
        lambda run: set_leaf(run / "records/seed-0-pool-given.json", ["blind", "finding"], "shift"),
        ["records/seed-0-pool-given.json"],
    ),
    "a missing pair of an attack control": (
        "control_run",
        lambda run: without_line(run / "pairs.csv", 3),
        ["pairs.csv"],
    ),
    "a member too few of an attack control": (
        "control_run",
        lambda run: set_array(run / "members.npz", "images", lambda a: a[1:]),
        ["members.npz"],
    ),
}
"""What is changed -> run, how, and the files that differ then, first that which is named first."""


@pytest.mark.parametrize("what", ROOTS)
def test_a_change_of_what_the_rest_follows_from_is_found(what, request, copied):
    run, change, files = ROOTS[what]
    folder = copied(request.getfixturevalue(run))
    change(folder)
    found = [one.file for one in verify(folder).differences]
    assert found[:1] == files[:1]
    assert set(files) <= set(found)


POOL, GIVEN = "scores/seed-0/target/pool.npz", "scores/seed-0/target/given.npz"
ARRAYS = [
    ("audit_run", REFERENCES, "own"),
    ("audit_run", "scores/seed-0/target/scored.npz", "stratum"),
    ("score_run", GIVEN, "labels"),
    ("score_run", GIVEN, "ssim-value"),
    ("score_run", POOL, "source"),
    ("control_run", "controls.npz", "images"),
]
"""Arrays that something is computed from: run, file, name."""


@pytest.mark.parametrize(("run", "file", "array"), ARRAYS)
def test_an_array_that_is_missing_is_named_with_its_file(run, file, array, request, copied):
    folder = copied(request.getfixturevalue(run))
    without_array(folder / file, array)
    found = verify(folder).differences
    assert any(f"{folder / file} holds no array {array!r}" in one.words for one in found), found


@pytest.mark.parametrize(
    ("run", "file", "array"), [("audit_run", REFERENCES, "own"), ("score_run", GIVEN, "ssim-index")]
)
def test_an_array_of_another_kind_is_a_difference(run, file, array, request, copied):
    folder = copied(request.getfixturevalue(run))
    set_array(folder / file, array, lambda _: np.array(["nothing"]))
    found = verify(folder).differences
    assert found[0].file == file
    # Beside the hash of the file.
    assert any(one.words for one in found[1:])


OOD_TABLES = {
    "table.csv": ("auroc", "0.123"),
    "summary.csv": ("difference_low", "-0.9"),
    "calibration.csv": ("ece", "0.5"),
    "detectors.csv": ("role", "ours"),
}


AUDIT_TABLES = {
    "membership_tests.csv": ("p_value", "0.5"),
    "images.csv": ("membership_p", "0.987"),
    "repeats.csv": ("p_adjusted", "0.987"),
    "stages.csv": ("planned", "987.5"),
    "readiness.csv": ("auroc", "0.987"),
    "controls.csv": ("verdict", "none"),
}


ANSWERS_TABLES = {name: AUDIT_TABLES[name] for name in ("membership_tests.csv", "images.csv", "repeats.csv")}


@pytest.mark.parametrize(
    ("run", "tables"), [("ood_run", OOD_TABLES), ("audit_run", AUDIT_TABLES), ("answers_run", ANSWERS_TABLES)]
)
def test_a_change_of_any_table_is_found(run, tables, request, copied):
    folder = copied(request.getfixturevalue(run))
    stored = {}
    for file, (column, value) in tables.items():
        header, *rows = cells(folder / file)
        line = next(n for n, row in enumerate(rows, start=2) if row[header.index(column)] not in ("", value))
        stored[file] = set_cell(folder / file, line, column, value)
    found = {one.file: one for one in verify(folder).differences}
    assert set(found) == set(tables)
    for file, (column, value) in tables.items():
        assert (found[file].column, found[file].stored, found[file].recomputed) == (column, value, stored[file])


KEPT = {
    "a mean of the summary": (
        "leakage-released",
        lambda run: set_cell(run / "summary.csv", 2, "auroc", "0.7"),
        ("summary.csv", "auroc"),
    ),
    "a verdict of the attack control": (
        "leakage-released",
        lambda run: _set_where(run / "controls.csv", "verdict", "leak", "verdict", "no-evidence"),
        ("controls.csv", "verdict"),
    ),
    "a negative control": (
        "leakage-digits-negative",
        lambda run: set_cell(run / "controls.csv", 4, "p_value", "0.111"),
        ("controls.csv", "p_value"),
    ),
    "a verdict that no reason allows": (
        "leakage-released",
        lambda run: _set_where(
            _unpacked(run / "table.csv"), "verdict_reason", "attack-failed", "verdict_reason", "control-invalid"
        ),
        ("table.csv", "verdict"),
    ),
    "an adjusted p-value": (
        "leakage-released",
        lambda run: _set_where(_unpacked(run / "table.csv"), "status", "ok", "p_adjusted", "0.01234"),
        ("table.csv", "p_adjusted"),
    ),
    "a row of the summary": (
        "leakage-digits",
        lambda run: without_line(run / "summary.csv", 3),
        ("summary.csv", ""),
    ),
    "a mean over seeds": (
        "ood-ways-mnist",
        lambda run: set_cell(run / "summary.csv", 20, "fpr95", "0.777"),
        ("summary.csv", "fpr95"),
    ),
    "a mean over sets": (
        "ood-digits",
        lambda run: _set_where(run / "summary.csv", "ood_set", "mean-near", "auroc", "0.777"),
        ("summary.csv", "auroc"),
    ),
    "a difference": (
        "ood-cifar10",
        lambda run: _set_where(run / "summary.csv", "ood_set", "mean-near", "difference", "0.777"),
        ("summary.csv", "difference"),
    ),
    "what ours accepts": (
        "ood-digits",
        lambda run: set_cell(run / "resistance.csv", 2, "accepted", "0.777"),
        ("resistance.csv", "accepted"),
    ),
}


def _unpacked(path):
    """Write a compressed table as it is read, and return its path."""
    packed = path.with_name(f"{path.name}.gz")
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    return path


def _set_where(path, column, word, changed, value):
    """Change a cell of the first line with this word in a column, and with a difference, if the table has that."""
    header, *rows = cells(path)
    for number, row in enumerate(rows, start=2):
        named = dict(zip(header, row, strict=True))
        if named[column] == word and named.get("difference", "there"):
            return set_cell(path, number, changed, value)
    raise AssertionError


@pytest.mark.parametrize("what", KEPT)
def test_a_change_of_what_is_recorded_is_found(what, copied):
    name, change, place = KEPT[what]
    folder = copied(RESULTS / name)
    change(folder)
    first = verify(folder).differences[0]
    assert (first.file, first.column) == place


def test_the_folder_is_left_as_it_was(leakage_run):
    def state():
        return {path: path.stat().st_mtime_ns for path in leakage_run.rglob("*")}

    before = state()
    verify(leakage_run)
    assert state() == before
