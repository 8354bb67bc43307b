"""What the comparison of two runs holds: rows of ``comparison.csv``."""

from typing import Annotated, Literal

from invaudit.records.columns import Better, Column, Count, Row, Text

Compared = Literal["paired", "beside", "not-paired"]
"""How two values stand to one another: measured on the same images with an interval of their difference; side by side,
without a test of a difference; or one without the other."""
Part = Literal["ood", "membership", "reconstruction", "accuracy", "readiness"]
"""What a row is of: detectors of an OOD run; or a part of an audit."""
Value = Annotated[float | None, Column(unit="figure")]
"""A value in the units of its figure: a fraction, a p-value, or a similarity in those of its metric."""


class ComparisonRow(Row):
    """One figure of two runs: a row of ``comparison.csv``."""

    part: Part
    """What it is of."""
    target: Text = None
    """Name of the audited target, or of the network of an OOD run."""
    seed: Count = None
    """Seed of both; None: a mean over the seeds that both have."""
    name: Text = None
    """Name of the detector, of the membership score, of the test (``METHOD:METRIC``), or ``members``, ``controls``."""
    ood_set: Text = None
    """Name of the OOD set, or of the aggregate over several."""
    figure: Text = None
    """Name of the figure, as the column of its table is called."""
    better: Better | None = None
    """Whether a higher or a lower value is better for who has the network, where one is."""
    before: Value = None
    """Its value in the first run."""
    after: Value = None
    """Its value in the second."""
    difference: Value = None
    """After minus before."""
    difference_low: Value = None
    """Lower end of its 95 % interval."""
    difference_high: Value = None
    """Upper end of it."""
    verdict_before: Text = None
    """What the test of the first run says, with the reason of an ``inconclusive``."""
    verdict_after: Text = None
    """The same of the second."""
    compared: Compared
    """How the two values stand to one another."""
    reason: Text = None
    """What the interval speaks of, why there is none, or why there is no second value."""
