"""What the folder of a benchmark of explanations holds: rows of its tables, and the records of its jobs."""

from typing import Annotated, Literal

from pydantic import Field

from invaudit.records.columns import Column, Count, Fraction, Row, Seconds, Text
from invaudit.records.names import Status

MeasureValue = Annotated[float | None, Column(unit="measure")]
"""A value in the units of its measure."""
WORST = "worst"
"""In place of a class in the name of a measure: the lowest value of all classes."""
JOBS, NETWORKS, VARIANTS = "jobs.csv", "networks.csv", "variants.csv"
"""Side files: how each job went, what each network is worth, and the resolved settings of each variant."""


def class_measure(measure: str, label: int | str) -> str:
    """Return the name of a measure of one class."""
    return f"{measure}/{label}"


class ExplainRow(Row):
    """One measure of the inversions of a target, a variant and a seed: a row of ``table.csv``."""

    target: str
    """Name of the network that was inverted."""
    engine: str
    """What was searched for: ``generator`` or ``pixels``."""
    mode: Text = None
    """Condition mode of the generator."""
    variant: str
    """Name of the variant."""
    seed: Count = None
    """Seed of the run."""
    measure: str
    """Name of the measure; ``NAME/3`` is that of class 3, ``NAME/worst`` the lowest of all classes."""
    value: MeasureValue = None
    """Its value."""
    low: MeasureValue = None
    """Lower end of its 95 % interval over images."""
    high: MeasureValue = None
    """Upper end of it."""
    n: Count = None
    """Images behind it."""
    status: Status
    """How the measurement ended."""
    reason: Text = None
    """Why there is no value."""


class ExplainSummaryRow(Row):
    """One measure over seeds: a row of ``summary.csv``."""

    target: str
    """Name of the network that was inverted."""
    engine: str
    """What was searched for."""
    mode: Text = None
    """Condition mode of the generator."""
    variant: str
    """Name of the variant."""
    measure: str
    """Name of the measure."""
    seeds: Count = None
    """Seeds with a value."""
    mean: MeasureValue = None
    """Mean over seeds."""
    sd: MeasureValue = None
    """Standard deviation over seeds, of two or more."""
    low: MeasureValue = None
    """Lower end of the 95 % interval over images, where there is one seed."""
    high: MeasureValue = None
    """Upper end of it."""
    status: Status
    """That of the first seed without a value, if there is one."""
    reason: Text = None
    """Why it has none."""


class ExplainJobRow(Row):
    """How one job went: a row of ``jobs.csv``."""

    target: str
    """Name of the network that was inverted."""
    variant: str
    """Name of the variant."""
    seed: Count = None
    """Seed of the run."""
    outcome: Text = None
    """How the search ended, in one word."""
    message: Text = None
    """The same in words."""
    seconds: Seconds = None
    """Time of the search."""
    student_seconds: Seconds = None
    """Time of the inversions that a student saw, and of its training."""
    student_images: Count = None
    """Inversions that it saw."""
    status: Status
    """How the job ended."""
    reason: Text = None
    """Why there is no result."""


class ExplainNetworkRow(Row):
    """What a network is worth on the held-out images: a row of ``networks.csv``, and the record of its job."""

    network: str
    """Name of the target, or ``second``."""
    seed: Count = None
    """Seed of its training; none where it was trained elsewhere."""
    origin: Literal["given", "trained"]
    """Whether we have trained it."""
    arch: Text = None
    """Its architecture."""
    accuracy: Fraction = None
    """Share of the held-out images that it gets right."""
    low: Fraction = None
    """Lower end of its 95 % interval."""
    high: Fraction = None
    """Upper end of it."""
    n: Count = None
    """Held-out images."""
    seconds: Seconds = None
    """Time of its training."""
    hash: Text = None
    """Content hash of what it computes with."""
    file: Text = None
    """Its file in the run folder, if we have trained it."""
    status: Status
    """Whether it could be trained or loaded."""
    reason: Text = None
    """Why it could not."""


class ExplainVariantRow(Row):
    """What a variant is: a row of ``variants.csv``."""

    variant: str
    """Its name."""
    engine: str
    """What is searched for."""
    mode: Text = None
    """Condition mode of the generator."""
    settings: str
    """All settings of the search, resolved, in one line of YAML."""


class MeasureRecord(Row):
    """One figure of a job, or the reason why there is none."""

    measure: str
    """Name of the measure."""
    label: int | None = None
    """The class that it speaks of."""
    value: float | None = None
    """Its value."""
    low: float | None = None
    """Lower end of its 95 % interval."""
    high: float | None = None
    """Upper end of it."""
    n: int | None = None
    """Images behind it."""
    status: Status = "ok"
    """How the measurement ended."""
    reason: str = ""
    """Why there is no figure."""


class ExplainJobRecord(Row):
    """What a job found: ``records/seed-SEED-TARGET-VARIANT.json``."""

    variant: ExplainVariantRow
    """What was done."""
    job: ExplainJobRow
    """How it went."""
    measures: tuple[MeasureRecord, ...] = Field(default=())
    """What it measured."""
