"""Two audits of the same members and controls: what each score and each test says of the one and of the other."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from invaudit.benchmarks.comparing.accuracy import accuracy_rows
from invaudit.benchmarks.comparing.audited import (
    Audit,
    Target,
    paired_targets,
    refuse_other_images,
    refuse_other_rows,
)
from invaudit.benchmarks.comparing.intervals import paired
from invaudit.benchmarks.comparing.one_sided import in_both, one_sided
from invaudit.benchmarks.comparing.readiness import readiness_rows
from invaudit.benchmarks.comparing.shared_images import shared_scores
from invaudit.records.comparison import ComparisonRow
from invaudit.records.leakage import MembershipRow, TestRow
from invaudit.records.names import OURS
from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import RunFolderError
from invaudit.stats import auroc, membership_difference

SAME_ROWS = "; rows with the same labels are taken for the same images"
"""What a comparison of answers rests on."""


def compare_leakage(before: Path, after: Path) -> list[ComparisonRow]:
    """Return the rows of a comparison of two audits.

    Two audits of one network each are paired whatever the networks are called; where there are more, by their names.

    Raises:
        RunFolderError: A folder is damaged or not finished, or the two audited other members or controls.
    """
    audits = Audit.read(before), Audit.read(after)
    refuse_other_images(*audits)
    names, lone = paired_targets(*audits)
    old_seeds, new_seeds = (audit.run.seeds for audit in audits)
    seeds = in_both(old_seeds, new_seeds)
    if not names or not seeds:
        raise RunFolderError(
            f"{before} audits {', '.join(audits[0].targets)} with seeds {old_seeds}, {after} "
            f"{', '.join(audits[1].targets)} with seeds {new_seeds}, expected a network and a seed in common; give "
            "both the same names and seeds"
        )
    rows = lone + one_sided("membership", "seed", old_seeds, new_seeds)
    with foreign(f"what {before} and {after} store does not fit together", RunFolderError, remedy="verify both"):
        for (old, new), seed in product(names, seeds):
            rows += _target_rows(Target(audits[0].run, old, seed), Target(audits[1].run, new, seed))
        # Only the audit of a model, of one network and one seed, measures it.
        (old, new), seed = names[0], seeds[0]
        rows += readiness_rows(*audits, Target(audits[0].run, old, seed), Target(audits[1].run, new, seed))
    return rows


def shown_rows(rows: Sequence[ComparisonRow]) -> list[ComparisonRow]:
    """Return what a short table shows of an audit: no similarities, and of readiness our detector alone."""
    shown = []
    for row in rows:
        similarity = row.figure in ("similarity_member", "similarity_control")
        other_detector = row.part == "readiness" and row.name not in (OURS[1], None)
        if row.compared == "not-paired" or not (similarity or other_detector):
            shown.append(row)
    return shown


def _target_rows(before: Target, after: Target) -> Iterator[ComparisonRow]:
    """Yield all rows of one network and seed."""
    if before.run.by_answers:
        refuse_other_rows(before, after)
    named = {"target": _both_names(before.name, after.name), "seed": before.seed}
    rows = [*_membership_rows(before, after), *_test_rows(before, after), *accuracy_rows(before, after)]
    for row in rows:
        assumed = SAME_ROWS if before.run.by_answers and row.compared == "paired" else ""
        yield row.model_copy(update=named | {"reason": f"{row.reason or ''}{assumed}"})


def _both_names(before: str, after: str) -> str:
    return before if before == after else f"{before} / {after}"


def _membership_rows(before: Target, after: Target) -> Iterator[ComparisonRow]:
    """Yield the AUROC of each membership score, paired on the images that both audits have scored."""
    tables = [{row.score: row for row in target.rows(target.run.membership)} for target in (before, after)]
    yield from one_sided("membership", "name", *tables)
    for name in in_both(*tables):
        yield _membership_row(name, before, after, tables[0][name], tables[1][name])


def _membership_row(name: str, before: Target, after: Target, old: MembershipRow, new: MembershipRow) -> ComparisonRow:
    row = ComparisonRow(
        part="membership",
        name=name,
        figure="auroc",
        better="lower",
        before=old.auroc,
        after=new.auroc,
        compared="beside",
    )
    failed = next((of for of in (old, new) if of.status != "ok"), None)
    if failed:
        return row.model_copy(update={"compared": "not-paired", "reason": f"{failed.status}: {failed.reason}"})
    shared = shared_scores(before.scored(name), after.scored(name))
    if isinstance(shared, str):
        return row.model_copy(update={"reason": shared})
    member = shared.design.member
    old_auroc, new_auroc = (auroc(scores[~member], scores[member]) for scores in (shared.before, shared.after))
    found = membership_difference(shared.before, shared.after, shared.design)
    return paired(row.model_copy(update={"before": old_auroc, "after": new_auroc}), found)


def _test_rows(before: Target, after: Target) -> Iterator[ComparisonRow]:
    """Yield what each test of reconstructions says of both, side by side: a difference of verdicts has no test."""
    tables = []
    for target in (before, after):
        tables.append({f"{row.method}:{row.metric}": row for row in target.rows(target.run.tests)})
    yield from one_sided("reconstruction", "name", *tables)
    for name in in_both(*tables):
        old, new = (table[name] for table in tables)
        for figure in ("p_adjusted", "similarity_member", "similarity_control"):
            is_test = figure == "p_adjusted"
            yield ComparisonRow(
                part="reconstruction",
                name=name,
                figure=figure,
                before=getattr(old, figure),
                after=getattr(new, figure),
                verdict_before=_verdict(old) if is_test else None,
                verdict_after=_verdict(new) if is_test else None,
                compared="beside",
                reason="no test of a difference",
            )


def _verdict(row: TestRow) -> str:
    """Return what a test says, in the words of its table."""
    if row.verdict is None:
        return f"{row.status}: {row.reason}" if row.reason else row.status
    return f"{row.verdict} ({row.verdict_reason})" if row.verdict_reason else row.verdict
