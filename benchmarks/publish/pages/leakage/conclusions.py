"""What a reader may conclude from a recorded leakage run, and what not."""

from collections.abc import Iterator

import pandas as pd

from benchmarks.publish.pages.leakage.record import LeakageRecord
from invaudit.report.leakage.findings import LIMITS, MEANINGS, REASONS

PAIRS = (
    "Coins decided who is a member, so that a difference between members and controls comes from training on the "
    "members; the level bounds how often the tests of a target say *leak* where nothing leaks."
)
OBSERVATIONAL = (
    "For released models nobody drew coins: members and controls come from the training and the test set of the same "
    "source and are assumed to differ in nothing else. The blind baseline, a classifier that never saw the target, "
    "checks that in part."
)
OTHER_TARGETS = (
    "The targets are small and were made or chosen by us. Nothing here says how much a larger network, or one trained "
    "otherwise, gives away."
)


def target_sentence(record: LeakageRecord, target: str) -> str:
    """Return in one sentence how the tests of one target came out."""
    n_seeds = record.n_seeds(target)
    n_leaks = record.seeds_with_a_leak(target)
    tested = record.tested[record.tested["target"] == target]
    parts = []
    if n_leaks:
        methods = dict.fromkeys(tested.loc[tested["verdict"] == "leak", "method"])
        counts = [f"`{method}` {record.seeds_with_a_leak(target, method)}" for method in methods]
        parts.append(f"a leak in {n_leaks} of {n_seeds} {_seeds(n_seeds)} ({', '.join(counts)})")
    else:
        parts.append(f"no leak found in {n_seeds} {_seeds(n_seeds)}")
    parts.append(f"of {len(tested)} tests {verdict_counts(tested)}")
    untested = len(record.table[record.table["target"] == target]) - len(tested)
    if untested:
        parts.append(f"{untested} not tested")
    kind = ", negative control" if target in record.negatives else ""
    return f"`{target}`{kind}: {'; '.join(parts)}."


def verdict_counts(tested: pd.DataFrame) -> str:
    """Return how many tests gave which verdict, in words."""
    words = (("leak", "say *leak*"), ("no-evidence", "find nothing"), ("inconclusive", "are inconclusive"))
    counts = [(int((tested["verdict"] == verdict).sum()), text) for verdict, text in words]
    return ", ".join(f"{count} {text}" for count, text in counts if count)


def conclusions(record: LeakageRecord) -> Iterator[str]:
    """Give what the verdicts of this record mean, one sentence or two each."""
    verdicts = set(record.tested["verdict"])
    for verdict, meaning in MEANINGS.items():
        if verdict in verdicts:
            yield f"*{verdict}*: {meaning}"
    reasons = record.tested["verdict_reason"].dropna()
    for reason, count in reasons.value_counts(sort=False).items():
        yield f"*{reason}* ({count} of {len(record.tested)} tests): {REASONS.get(str(reason), reason)}."
    if "pairs" in set(record.table["design"]):
        yield PAIRS
    for target in sorted(record.negatives):
        n_leaks = record.seeds_with_a_leak(target)
        yield (
            f"`{target}` was trained on other images than those of the pool, so each *leak* there is a false alarm: "
            f"{n_leaks} in {record.n_seeds(target)} {_seeds(record.n_seeds(target))}."
        )


def cautions(record: LeakageRecord) -> Iterator[str]:
    """Give what this record does not show."""
    if "observational" in set(record.table["design"]):
        yield OBSERVATIONAL
    yield LIMITS
    yield OTHER_TARGETS
    if not record.papers_count.empty:
        yield (
            "The papers' count is no evidence: where it is as high for controls, of which the network never saw any, "
            "the reconstructions look like the kind of image and not like the members."
        )


def _seeds(count: int) -> str:
    return "seed" if count == 1 else "seeds"
