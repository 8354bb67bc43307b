"""What the folder of a leakage run holds: rows of its tables, and the records of its jobs."""

from typing import Annotated, Any, Literal

from pydantic import Field

from invaudit.records.columns import (
    Better,
    Column,
    Count,
    Fraction,
    GoodFraction,
    Probability,
    Row,
    Seconds,
    Text,
)
from invaudit.records.names import Status

Similarity = Annotated[float | None, Column(unit="metric")]
"""A value in the units of its metric."""
Design = Literal["pairs", "observational", "random-split"]
Verdict = Literal["leak", "no-evidence", "inconclusive"]
BlindFinding = Literal["no-shift", "shift", "too-small"]
Reason = Literal["exploratory", "no-control", "control-invalid", "shift", "underpowered", "attack-failed"]
"""Why a verdict is ``inconclusive``."""


class MetricRow(Row):
    """What a metric is: a row of ``metrics.csv``."""

    metric: str
    """Its name in the tables."""
    better: Better
    """Whether a higher or a lower value means more similar."""
    label: Text = None
    """The metric with its settings, in words."""


class TestRow(Row):
    """One test: a target, a method, a metric and a seed; a row of ``table.csv``."""

    __test__ = False  # pytest takes a class whose name begins with Test for tests

    target: str
    """Name of the audited target."""
    method: Text = None
    """Name of the reconstruction method."""
    metric: Text = None
    """Name of the metric of similarity."""
    design: Text = None
    """How membership came about: ``pairs`` or ``observational``."""
    seed: Count = None
    """Seed of the run."""
    n_members: Count = None
    """Members that are tested."""
    n_control: Count = None
    """Controls that are tested."""
    n_reconstructions: Count = None
    """Reconstructions that the method made."""
    similarity_member: Similarity = None
    """Mean over reconstructions of the similarity to the nearest member."""
    similarity_control: Similarity = None
    """Mean over reconstructions of the similarity to the nearest control."""
    distinct_hits: Count = None
    """Pool units (pairs, groups or images) that are nearest to at least one reconstruction."""
    p_value: Probability = None
    """p-value of the relabelling test."""
    p_adjusted: Probability = None
    """The same after Holm's correction over the declared family of the target."""
    verdict: Verdict | None = None
    """What the test says; None where there is no test."""
    verdict_reason: Reason | None = None
    """Why the verdict is ``inconclusive``."""
    scoring_limit: Count = None
    """Smallest number of distinct reconstructed members that this scoring calls a leak with probability 0.95."""
    blind_auroc: Fraction = None
    """AUROC of a classifier of members against controls that never sees the target."""
    blind_p: Probability = None
    """Its p-value."""
    seconds: Seconds = None
    """Time of the reconstruction and of the test."""
    status: Status
    """How the test ended."""
    reason: Text = None
    """Why there is no result, or what limits it."""


class MembershipRow(Row):
    """How well a score tells members from controls: a row of ``membership.csv``."""

    target: str
    """Name of the audited target."""
    score: str
    """Name of the score; ``METHOD:METRIC`` for the similarity to the nearest reconstruction of the same class."""
    design: Text = None
    """How membership came about."""
    seed: Count = None
    """Seed of the run."""
    n_members: Count = None
    """Members."""
    n_control: Count = None
    """Controls."""
    auroc: GoodFraction = None
    """How often a member scores above a control."""
    auroc_low: Fraction = None
    """Lower end of its 95 % interval."""
    auroc_high: Fraction = None
    """Upper end of it."""
    tpr_at_fpr_1pct: Fraction = None
    """Share of members found where 1 % of controls are called members."""
    p_value: Probability = None
    """p-value by relabelling."""
    epsilon_lower: Annotated[float | None, Column(unit="epsilon")] = None
    """Lower bound of the privacy loss epsilon, under ``pairs``."""
    status: Status
    """How the measurement ended."""
    reason: Text = None
    """Why there is no result, or what is missing."""


class PapersCountRow(Row):
    """What the KKT papers count, SSIM > 0.4, for members and controls: a row of ``papers_count.csv``."""

    target: str
    """Name of the audited target."""
    method: str
    """Name of the reconstruction method."""
    seed: Count = None
    """Seed of the run."""
    members: Count = None
    """Members that the papers would count as reconstructed."""
    n_members: Count = None
    """Members."""
    controls: Count = None
    """Controls that they would count."""
    n_control: Count = None
    """Controls."""
    status: Status
    """How the count ended."""
    reason: Text = None
    """Why there is none."""


class NeighbourRow(Row):
    """The nearest images of one reconstruction, over all members and controls: a row of ``neighbours.csv``."""

    reconstruction: int
    """Position of the reconstruction among those that were given."""
    label: int
    """Its class; negative where it has none."""
    metric: str
    """Name of the metric."""
    member: int
    """Position of the nearest member."""
    similarity_member: Similarity = None
    """Its similarity."""
    control: int
    """Position of the nearest control."""
    similarity_control: Similarity = None
    """Its similarity."""
    class_name: Text = None
    """Name of the class of the reconstruction, where the members' classes have names."""
    member_file: Text = None
    """File of the nearest member, where it came from one of its own."""
    control_file: Text = None
    """File of the nearest control, likewise."""


class TargetRow(Row):
    """One audited network: a row of ``targets.csv``."""

    target: str
    """Name of the target."""
    design: Text = None
    """How membership came about."""
    seed: Count = None
    """Seed of the run."""
    n_members: Count = None
    """Members of its pool."""
    n_control: Count = None
    """Controls of its pool."""
    train_accuracy: Fraction = None
    """Accuracy on the members."""
    control_accuracy: Fraction = None
    """Accuracy on the controls."""
    description: Text = None
    """How it was trained."""
    hash: Text = None
    """Content hash of weights, input spec and classes."""


class ControlRow(Row):
    """One test of a control: a row of ``controls.csv``."""

    kind: Literal["attack", "negative"]
    """``attack``: on a target that is known to leak; ``negative``: on one where nothing can leak."""
    target: str
    """Name of the target."""
    method: Text = None
    """Name of the reconstruction method."""
    metric: Text = None
    """Name of the metric."""
    seed: Count = None
    """Seed of the run."""
    p_value: Probability = None
    """p-value of the relabelling test."""
    verdict: Verdict | None = None
    """What the test says."""
    verdict_reason: Reason | None = None
    """Why the verdict is ``inconclusive``."""
    status: Status
    """How the test ended."""
    reason: Text = None
    """Why there is no result."""


class LeakageSummaryRow(Row):
    """One target and score over the seeds: a row of ``summary.csv``."""

    target: str
    """Name of the target."""
    score: str
    """Name of the score; ``METHOD:METRIC`` for reconstructions."""
    design: Text = None
    """How membership came about."""
    seeds: Count = None
    """Seeds with a result."""
    auroc: GoodFraction = None
    """Mean over seeds."""
    auroc_sd: Fraction = None
    """Standard deviation over seeds (ddof 1)."""
    similarity_member: Similarity = None
    """Mean over seeds."""
    similarity_control: Similarity = None
    """Mean over seeds."""
    distinct_hits: Annotated[float | None, Column(unit="count")] = None
    """Mean over seeds."""
    low_p: Count = None
    """Seeds whose p-value, before it was adjusted for the family, is at most alpha."""
    leak: Count = None
    """Seeds that say ``leak``."""
    no_evidence: Count = None
    """Seeds that say ``no-evidence``."""
    inconclusive: Count = None
    """Seeds that say ``inconclusive``."""
    status: Status
    """How the measurements ended."""
    reason: Text = None
    """Why there is no result, or how many seeds failed."""


class Ended(Row):
    """How a measurement ended, with its time; base of the records below."""

    status: Status = "ok"
    """How it ended."""
    reason: str = ""
    """Why there is no result, or what limits it."""
    seconds: float | None = None
    """Time that it took."""


class ReadinessRow(Ended):
    """What one detector makes of one set of images of another kind: a row of ``readiness.csv``."""

    detector: str
    """Name of the detector."""
    ood_set: str
    """Name of the set; ``id-test`` for images of the model's own kind, which nothing else has used."""
    group: str
    """``noise`` or ``given``; ``id`` for the model's own kind."""
    n: Count = None
    """Images of the set."""
    auroc: GoodFraction = None
    """How often an image of the set scores higher than one of ``id-test``."""
    auroc_low: Fraction = None
    """Lower end of its 95 % interval."""
    auroc_high: Fraction = None
    """Upper end of it."""
    rejected: Fraction = None
    """Share that is rejected at the threshold for 5 % false alarms; of ``id-test`` these are the false alarms."""


class MethodOutcome(Ended):
    """How a reconstruction method fared on a target."""

    n: int | None = None
    """Reconstructions that it made."""
    outcome: str | None = None
    """How its search ended."""
    message: str = ""
    """The outcome in words."""


class TestResult(Ended):
    """The relabelling test of the reconstructions of one method by one metric."""

    __test__ = False

    p_value: float | None = None
    """p-value of the test; None where there is none."""
    attainable_p: float | None = None
    """Smallest p-value that the hits at hand can stand for."""
    distinct_hits: int | None = None
    """Pool units that are nearest to at least one reconstruction."""
    similarity_member: float | None = None
    """Mean similarity to the nearest member, in the units of the metric."""
    similarity_control: float | None = None
    """Mean similarity to the nearest control."""


class MembershipResult(Ended):
    """How well a score tells members from controls; see `MembershipRow`."""

    auroc: float | None = None
    auroc_low: float | None = None
    auroc_high: float | None = None
    tpr_at_fpr_1pct: float | None = None
    p_value: float | None = None
    attainable_p: float | None = None
    """Smallest p-value that any score can have on these images; None: an older record, which does not say."""
    epsilon_lower: float | None = None
    n_members: int | None = None
    """Members that were scored; None: all of the pool."""
    n_control: int | None = None
    """Controls that were scored; None: all of the pool."""


class PapersCount(Ended):
    """What the KKT papers count; see `PapersCountRow`."""

    members: int | None = None
    controls: int | None = None


class BlindResult(Ended):
    """What the blind baseline says of a pool."""

    finding: BlindFinding | None = None
    """``shift``: members and controls differ by themselves; ``too-small``: no difference would be called so."""
    auroc: float | None = None
    """AUROC of members against controls without the target."""
    low: float | None = None
    """Lower end of its 95 % interval, from its spread under relabelling."""
    high: float | None = None
    """Upper end."""
    p_value: float | None = None
    """Its p-value."""
    called_above: float | None = None
    """AUROC above which the test would find a difference; None: nowhere."""


class LimitResult(Ended):
    """The scoring limit of one metric and number of reconstructions."""

    members: int | None = None
    """Smallest number of distinct reconstructed members that is called a leak; None: not even all of them are."""
    power: float | None = None
    """Probability of a call at that number, or with all members reconstructed."""
    similarity: float | None = None
    """Mean similarity of the simulated copies to their members, in the units of the metric."""


class TargetDescription(Row):
    """What an audited network is; see `TargetRow`."""

    design: Design
    n_members: int | None = None
    n_control: int | None = None
    train_accuracy: float | None = None
    control_accuracy: float | None = None
    description: str = ""
    hash: str | None = None


class AuditRecord(Row):
    """What the audit of one target on one pool found: ``records/seed-SEED-TARGET.json``."""

    schema_version: Literal[2] = 2
    """Version of this record."""
    target: TargetDescription
    """What was audited."""
    metrics: dict[str, MetricRow] = Field(default_factory=dict)
    """Metrics that could be computed, by name."""
    methods: dict[str, MethodOutcome] = Field(default_factory=dict)
    """How each method ended, by its name."""
    tests: dict[str, dict[str, TestResult]] = Field(default_factory=dict)
    """Result of each test, by method and metric."""
    membership: dict[str, MembershipResult] = Field(default_factory=dict)
    """How well each score tells members from controls, by its name."""
    papers_count: dict[str, PapersCount] = Field(default_factory=dict)
    """What the KKT papers would count, by method."""

    @property
    def membership_family(self) -> dict[str, MembershipResult]:
        """The declared family of membership scores: all that need no reconstruction."""
        return {score: result for score, result in self.membership.items() if ":" not in score}


class AttackControlRecord(Row):
    """Where the attack control of an audit comes from: ``records/attack-control.json``. What is not known is None."""

    method: str | None = None
    """Name of the method; None: the reconstructions were given."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the method that were given; the others are its defaults."""
    reference: bool | None = None
    """Whether the method had reference images."""
    data: str | None = None
    """DATA of the network; None: the network was not trained by ``make_attack_control``."""
    network: str | None = None
    """What the network is: its architecture, and on how many members it was trained."""


class PoolRecord(Row):
    """What a pool allows by itself, without any target: ``records/seed-SEED-POOL.json``."""

    schema_version: Literal[3] = 3
    """Version of this record."""
    blind: BlindResult = BlindResult()
    """The blind baseline."""
    limits: dict[str, LimitResult] = Field(default_factory=dict)
    """The scoring limit by ``METRIC/COUNT``."""


class ReadinessRecord(Row):
    """What an audit measured of images of other kinds: ``records/readiness.json``."""

    schema_version: Literal[1] = 1
    """Version of this record."""
    rows: list[ReadinessRow]
    """One for each detector and set; a single one that says why where nothing could be measured."""
