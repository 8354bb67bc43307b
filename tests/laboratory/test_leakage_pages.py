import shutil

import pandas as pd
import pytest

from benchmarks.publish.pages.leakage.page import headline, page, seeds_text

pytestmark = pytest.mark.slow

TABLES = ("table", "membership", "summary", "targets", "controls", "papers_count")


@pytest.fixture
def recorded(finished_leakage, tmp_path):
    folder = tmp_path / "leakage-small"
    folder.mkdir()
    for name in ("config.yaml", "environment.json", *(f"{name}.csv" for name in TABLES)):
        shutil.copy(finished_leakage / name, folder / name)
    return folder


def cells(text, *start):
    """Return the cells of the only row that begins with some cells, without these."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {' | '.join(start)} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][len(start) :]


def test_the_verdicts_are_those_of_the_summary(recorded):
    text = page(recorded)
    summary = pd.read_csv(recorded / "summary.csv").set_index(["target", "score"])
    leaks = pd.read_csv(recorded / "table.csv").query("verdict == 'leak'").groupby("target")["seed"].nunique()
    for target in ("mlp", "negative"):
        counts = []
        for metric in ("cosine", "ssim"):
            row = summary.loc[target, f"kkt:{metric}"]
            counts.append(f"{row['leak']:.0f} / {row['no_evidence']:.0f} / {row['inconclusive']:.0f}")
        seeds_with_a_leak = f"{leaks.get(target, 0)} of 2"
        assert cells(text, f"`{target}`", "`kkt`", seeds_with_a_leak)[:2] == counts


def test_the_membership_scores_are_those_of_the_summary(recorded):
    text = page(recorded)
    summary = pd.read_csv(recorded / "summary.csv").set_index(["score", "target"])
    for score in summary.index.unique("score"):
        for target, cell in zip(("mlp", "negative"), cells(text, f"`{score}`"), strict=True):
            row = summary.loc[score, target]
            assert cell.startswith(f"{100 * row['auroc']:.1f} ± {100 * row['auroc_sd']:.1f} (")


def test_one_seed_shows_the_interval_over_images(recorded):
    for name in TABLES:
        rows = pd.read_csv(recorded / f"{name}.csv")
        if "seed" in rows:
            rows[rows["seed"] == 3].to_csv(recorded / f"{name}.csv", index=False)
    row = pd.read_csv(recorded / "membership.csv").query("target == 'mlp' and score == 'margin'").iloc[0]
    auroc, low, high = (f"{100 * row[name]:.1f}" for name in ("auroc", "auroc_low", "auroc_high"))
    assert cells(page(recorded), "`margin`")[0] == f"{auroc} [{low}; {high}], p {row['p_value']:.2g}"


def test_controls_are_judged(recorded):
    controls = pd.read_csv(recorded / "controls.csv")
    p_values = controls[controls["kind"] == "attack"].set_index("metric")["p_value"]
    for verdict, word in (("leak", "yes"), ("no-evidence", "**no**")):
        controls.loc[controls["kind"] == "attack", "verdict"] = verdict
        controls.to_csv(recorded / "controls.csv", index=False)
        text = page(recorded)
        assert cells(text, "`kkt`", word) == [f"{p_values[metric]:.2g}" for metric in ("cosine", "ssim")]
    n_leaks = len(pd.read_csv(recorded / "table.csv").query("target == 'negative' and verdict == 'leak'"))
    assert cells(text, "`negative`", "2", "4")[0] == str(n_leaks)


def test_a_false_alarm_and_a_failed_attack_are_said(recorded):
    table = pd.read_csv(recorded / "table.csv", dtype={"verdict_reason": str})
    is_negative = table["target"] == "negative"
    table.loc[is_negative, "verdict"] = "leak"
    table.loc[~is_negative, ["verdict", "verdict_reason"]] = ["inconclusive", "attack-failed"]
    table.to_csv(recorded / "table.csv", index=False)
    text = page(recorded)
    assert "each *leak* there is a false alarm: 2 in 2 seeds" in text
    assert "*attack-failed* (4 of 8 tests): the attack does not find the leak" in text
    assert "`mlp`: no leak found in 2 seeds; of 4 tests 4 are inconclusive." in text
    assert headline(recorded) == "seeds with a leak: `mlp` 0 of 2, `negative` 2 of 2"


def test_what_was_not_tested_is_counted_and_has_no_verdict(recorded):
    table = pd.read_csv(recorded / "table.csv", dtype={"verdict_reason": str})
    table.loc[table["target"] == "mlp", ["verdict", "status"]] = [None, "not-applicable"]
    table.to_csv(recorded / "table.csv", index=False)
    assert cells(page(recorded), "`mlp`", "`kkt`", "0 of 2") == ["\u2013", "\u2013", "4 not-applicable"]


def test_seeds_in_a_row_read_as_a_range():
    assert seeds_text([3, 4, 5, 6]) == "3 to 6"
    assert seeds_text([0, 2, 3]) == "0, 2, 3"
    assert seeds_text([5]) == "5"
