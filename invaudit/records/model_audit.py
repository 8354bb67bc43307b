"""What the folder of the audit of a model holds beside the tables of every leakage run."""

from typing import Annotated, Literal

from pydantic import Field

from invaudit.records.columns import Column, Count, Fraction, Probability, Row, Seconds, Text
from invaudit.records.leakage import Ended, Reason, Similarity, Verdict
from invaudit.records.names import Status

Question = Literal["membership", "reconstruction"]
"""Can one tell who was trained on, and can images be made from the model."""
Repeat = Literal["null-halves", "null-order", "draw"]
"""What is repeated: ``null-halves`` controls of a random half in the place of members, ``null-order`` those of the
first half as they were given, ``draw`` the test with a random half of the controls."""


class MembershipTestRow(Row):
    """The test of one membership score of the declared family: a row of ``membership_tests.csv``."""

    target: str
    """Name of the target."""
    score: str
    """Name of the score."""
    design: Text = None
    """How membership came about."""
    seed: Count = None
    """Seed of the run."""
    n_members: Count = None
    """Members that were scored."""
    n_control: Count = None
    """Controls that were scored."""
    auroc: Fraction = None
    """How often a member scores above a control."""
    p_value: Probability = None
    """p-value by relabelling."""
    p_adjusted: Probability = None
    """The same after Holm's correction over the declared family of scores."""
    verdict: Verdict | None = None
    """What the test says; None where there is no test."""
    verdict_reason: Reason | None = None
    """Why the verdict is ``inconclusive``."""
    status: Status
    """How the measurement ended."""
    reason: Text = None
    """Why there is no result."""


class RepeatRow(Row):
    """The whole family of tests once more, on other images of the pool: a row of ``repeats.csv``."""

    kind: Repeat
    """What was repeated."""
    question: Question
    """Which family of tests."""
    repeat: int
    """Number of the repeat, from 0."""
    n_members: Count = None
    """Images in the place of members."""
    n_control: Count = None
    """Controls."""
    p_adjusted: Probability = None
    """Smallest p-value after Holm's correction over the family."""
    leak: bool | None = None
    """Whether the family would be called a leak; None where it could not be tested."""
    status: Status = "ok"
    """How the repeat ended."""
    reason: Text = None
    """Why there is no result."""


class ImageRow(Row):
    """What the audit says of one image of the pool: a row of ``images.csv``."""

    side: Literal["member", "control"]
    """Whether the target was trained on it."""
    index: int
    """Its position among the members, or the controls, as they were given, from 0."""
    file: Text = None
    """Its file, where it came from one of its own."""
    label: int
    """Number of its class."""
    class_name: Text = None
    """Name of its class, where there are names."""
    membership_score: Text = None
    """The membership score with the smallest p-value, of those that make claims."""
    membership_p: Probability = None
    """That p-value: the share of controls that score as high, itself left out, one added to both numbers."""
    membership_claimed: bool | None = None
    """Whether it is claimed as a member by a membership score; always no for a control."""
    reconstruction_score: Text = None
    """``METHOD:METRIC`` with the smallest p-value of its similarity to the nearest reconstruction of its class."""
    reconstruction_p: Probability = None
    """That p-value."""
    reconstruction: Count = None
    """Position of the nearest reconstruction among those of the method."""
    similarity: Similarity = None
    """Its similarity, in the units of the metric."""
    rank: Count = None
    """Rank of the image among all of the pool by that similarity, from 1."""
    reconstruction_claimed: bool | None = None
    """Whether it is claimed as a member by its reconstructions; always no for a control."""


class ClaimsRecord(Row):
    """How many records are claimed as members: ``records/claims.json``, by question."""

    schema_version: Literal[1] = 1
    """Version of this record."""
    rate: float
    """False-discovery rate that the claims keep."""
    membership: int
    """Members that a membership score claims."""
    reconstruction: int
    """Members that their reconstructions claim."""
    notes: dict[str, str] = Field(default_factory=dict)
    """By question, why no claim could be made, where none could."""


class Accuracy(Row):
    """A share of images that are right, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


class PreflightRecord(Row):
    """What was seen of model and images before the audit began: ``records/preflight.json``."""

    schema_version: Literal[1] = 1
    """Version of this record."""
    members: Accuracy
    """Accuracy on the members."""
    controls: Accuracy
    """Accuracy on the controls."""
    gap: float
    """The first less the second."""
    gap_low: float
    """Lower end of its 95 % interval."""
    gap_high: float
    """Upper end of it."""
    model: str = ""
    """File of the model, or its name; empty: not recorded."""
    preparation: str
    """How pictures become what the model takes."""
    both_sides: int
    """Images that are member and control, which are left out."""
    near_copies: int | None
    """Controls that are nearly a copy of a member; None: images could not be compared."""
    near_similarity: float
    """Similarity (SSIM) from which on a control counts as nearly a copy."""
    notes: tuple[str, ...] = ()
    """What else was noticed, in sentences."""


class PlannedStage(Row):
    """One stage of a plan."""

    name: str
    """Name of the stage."""
    settings: str
    """What it will do, in words."""
    seconds: float
    """What it will take, as estimated from the timing."""
    cut: str = ""
    """What was cut for the budget; empty for nothing."""


class PlanRecord(Row):
    """The plan of an audit: ``records/plan.json``. Written before the first stage, and what a resume goes by."""

    schema_version: Literal[1] = 1
    """Version of this record."""
    budget_s: float
    """Seconds that were given; 0: as long as it takes."""
    steps: dict[str, int]
    """Steps of each reconstruction method that fits the model."""
    left_out: dict[str, str]
    """Methods that do not fit the model, with the reason."""
    most: int
    """Largest number of members, and of controls, that reconstructions are compared with."""
    weighed: int
    """Largest number of members, and of controls, that scores by gradients are measured on."""
    stages: tuple[PlannedStage, ...]
    """The stages with their cost."""
    unavailable: dict[str, Ended] = Field(default_factory=dict)
    """Declared metrics that could not be computed, with the reason; what comes or goes later changes nothing."""
    detectors: tuple[str, ...] = ()
    """Detectors of the question what the model does not know; none: not recorded."""
    gallery: float | None = Field(default=None, gt=0, le=1, exclude_if=lambda share: share is None)
    """Share of the steps of the searches of a gallery; None: there is no gallery."""


class StageRow(Row):
    """What a stage of the audit was to cost, and did: a row of ``stages.csv``."""

    stage: str
    """Name of the stage."""
    settings: Text = None
    """What it did."""
    planned: Seconds = None
    """Seconds that the plan gave it."""
    seconds: Annotated[float | None, Column(unit="s")] = None
    """Seconds that it took."""
    cut: Text = None
    """What was cut for the budget."""
