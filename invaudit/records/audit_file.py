"""The model of ``audit.json``: what an audit says, for programs. Its JSON Schema comes from here.

The fields are a promise to readers outside: they stay as they are until ``schema_version`` changes. One that only some
audits have may be added, so that what is read today can be read then.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from invaudit.records.columns import Row
from invaudit.records.leakage import Reason, Verdict
from invaudit.records.model_audit import Question
from invaudit.records.names import Status

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, le=1)]


class AuditNetwork(Row):
    """The network of a target for one seed."""

    seed: int | None
    """Seed of the run."""
    hash: Hash | None
    """Content hash (SHA-256) of its weights, input spec and classes."""
    description: str | None
    """How it was trained."""
    n_members: Count | None
    """Members of its pool."""
    train_accuracy: Rate | None
    """Accuracy on the members."""
    control_accuracy: Rate | None
    """Accuracy on the controls."""


class AuditTest(Row):
    """One test: a row of ``table.csv``."""

    method: str | None
    """Name of the reconstruction method."""
    metric: str | None
    """Name of the metric of similarity."""
    design: str | None
    """How membership came about: ``pairs`` or ``observational``."""
    seed: int | None
    """Seed of the run."""
    n_members: Count | None
    """Members that are tested."""
    n_control: Count | None
    """Controls that are tested."""
    n_reconstructions: Count | None
    """Reconstructions that the method made."""
    similarity_member: float | None
    """Mean similarity of a reconstruction to its nearest member, in the units of the metric."""
    similarity_control: float | None
    """Mean similarity of a reconstruction to its nearest control, in the units of the metric."""
    distinct_hits: Count | None
    """Pool units (pairs, groups or images) that are nearest to at least one reconstruction."""
    p_value: Rate | None
    """p-value of the relabelling test."""
    p_adjusted: Rate | None
    """The same after Holm's correction over the declared family of the target."""
    verdict: Verdict | None
    """What the test says; null: it has no result."""
    verdict_reason: Reason | None
    """Why the verdict is inconclusive."""
    scoring_limit: Count | None
    """Smallest number of distinct reconstructed members that this scoring calls a leak with probability 0.95."""
    blind_auroc: Rate | None
    """AUROC of a classifier of members against controls that never sees the target."""
    blind_p: Rate | None
    """p-value of that AUROC."""
    seconds: float | None
    """Time of the reconstruction and of the test, in seconds."""
    status: Status
    """How the test ended."""
    reason: str | None
    """Why there is no result, or what limits it."""


class AuditMembershipTest(Row):
    """The test of one membership score of the declared family: a row of ``membership_tests.csv``."""

    score: str
    """Name of the score."""
    seed: int | None
    """Seed of the run."""
    n_members: Count | None
    """Members that were scored."""
    n_control: Count | None
    """Controls that were scored."""
    auroc: Rate | None
    """How often a member scores above a control."""
    p_value: Rate | None
    """p-value by relabelling."""
    p_adjusted: Rate | None
    """The same after Holm's correction over the declared family of scores."""
    verdict: Verdict | None
    """What the test says; null: it has no result."""
    verdict_reason: Reason | None
    """Why the verdict is inconclusive."""
    status: Status
    """How the measurement ended."""
    reason: str | None
    """Why there is no result."""


class AuditMembershipVerdict(Row):
    """Whether one can tell who was trained on; it is never merged with the verdict on reconstructions."""

    verdict: Verdict | None
    """What the tests say together; null: no test has a result."""
    reasons: tuple[Reason, ...]
    """Why the verdict is inconclusive, else empty."""
    tests: tuple[AuditMembershipTest, ...]
    """The tests of the declared membership scores."""


class AuditTarget(Row):
    """A target and its verdict."""

    target: str
    """Name of the target."""
    negative_control: bool
    """Whether nothing can leak here: a control of the others."""
    networks: tuple[AuditNetwork, ...]
    """Its network for each seed."""
    verdict: Verdict | None
    """What its tests of reconstructions say together; null: no test has a result."""
    reasons: tuple[Reason, ...]
    """Why that verdict is inconclusive, else empty."""
    tests: tuple[AuditTest, ...]
    """Its tests of reconstructions."""
    membership: AuditMembershipVerdict | None
    """The verdict on membership; null: no such family was declared."""


class AuditMembership(Row):
    """A membership score: a row of ``membership.csv``."""

    target: str
    """Name of the target."""
    score: str
    """Name of the score; ``METHOD:METRIC`` for the similarity to the nearest reconstruction of the same class."""
    design: str | None
    """How membership came about: ``pairs`` or ``observational``."""
    seed: int | None
    """Seed of the run."""
    n_members: Count | None
    """Members."""
    n_control: Count | None
    """Controls."""
    auroc: Rate | None
    """How often a member scores above a control."""
    auroc_low: Rate | None
    """Lower end of its 95 % interval."""
    auroc_high: Rate | None
    """Upper end of its 95 % interval."""
    tpr_at_fpr_1pct: Rate | None
    """Share of members recognised where 1 % of controls are called members."""
    p_value: Rate | None
    """p-value by relabelling."""
    epsilon_lower: Annotated[float, Field(ge=0)] | None
    """Lower bound of the privacy loss epsilon, under ``pairs``."""
    status: Status
    """How the measurement ended."""
    reason: str | None
    """Why there is no result, or what is missing."""


class AuditControl(Row):
    """A control: the same tests on a target that is known to leak (attack), or where nothing can leak (negative)."""

    kind: Literal["attack", "negative"]
    """Which of the two it is."""
    target: str
    """Name of the target."""
    method: str | None
    """Name of the reconstruction method."""
    metric: str | None
    """Name of the metric."""
    seed: int | None
    """Seed of the run."""
    p_value: Rate | None
    """p-value of the relabelling test."""
    verdict: Verdict | None
    """What the test says; null: it has no result."""


class AuditOodSet(Row):
    """How well the detector tells one OOD set from ID images."""

    ood_set: str
    """Name of the OOD set."""
    group: str
    """Group of the OOD set."""
    n_id: Count | None
    """ID test images that were scored."""
    n_ood: Count | None
    """OOD images that were scored."""
    auroc: Rate | None
    """How often an OOD image scores higher than an ID image."""
    auroc_low: Rate | None
    """Lower end of its 95 % interval."""
    auroc_high: Rate | None
    """Upper end of its 95 % interval."""
    fpr95: Rate | None
    """Share of OOD images accepted when 95 % of ID images are accepted."""


class AuditReadiness(Row):
    """Readiness for images of other kinds."""

    detector: str
    """Name of the detector."""
    id_accuracy: Rate | None
    """Accuracy of the network on the ID test images."""
    sets: tuple[AuditOodSet, ...]
    """One for each OOD set."""


class AuditRepeats(Row):
    """The family of tests of one question once more, on other images of the pool."""

    question: Question
    """Which family: membership, or reconstruction."""
    halves: Count
    """Random halves of the controls that were tested in the place of members."""
    halves_called: Count
    """How many of them were called a leak."""
    order_p: Rate | None
    """Adjusted p-value of the first half of the controls against the second; null: not tested."""
    null_p: Rate | None
    """p-value of this null, a negative control; null: not tested."""
    draws: Count
    """Draws of controls that the tests were repeated with."""
    draws_called: Count
    """How many of them were called a leak."""
    draws_alike: bool | None
    """Whether draws are called alike, but for one in twenty; null: not tested."""


class AuditClaims(Row):
    """How many members are claimed one by one."""

    rate: Rate
    """False-discovery rate that the claims keep."""
    membership: Count
    """Members that a membership score claims."""
    reconstruction: Count
    """Members that their reconstructions claim."""
    notes: dict[str, str]
    """By question, why no claim could be made, where none could."""


class AuditAccuracy(Row):
    """A share of images that are right, with its 95 % interval."""

    value: Rate
    """The share."""
    low: Rate
    """Lower end of its interval."""
    high: Rate
    """Upper end of its interval."""
    n: Count
    """Number of images."""


class AuditPreflight(Row):
    """What was seen of model and images before the audit began."""

    model: str
    """File of the model, or its name; empty: not recorded."""
    members: AuditAccuracy
    """Accuracy on the members."""
    controls: AuditAccuracy
    """Accuracy on the controls."""
    gap: float
    """The first less the second."""
    gap_low: float
    """Lower end of its 95 % interval."""
    gap_high: float
    """Upper end of its 95 % interval."""
    preparation: str
    """How pictures become what the model takes."""
    both_sides: Count
    """Images that are member and control, which are left out."""
    near_copies: Count | None
    """Controls that are nearly a copy of a member; null: not compared."""
    near_similarity: float
    """Similarity (SSIM) from which on a control counts as nearly a copy."""
    notes: tuple[str, ...]
    """What else was noticed."""


class AuditStage(Row):
    """What a stage was to cost, and did."""

    stage: str
    """Name of the stage."""
    settings: str | None
    """What it did."""
    planned: float | None
    """Seconds that the plan gave it."""
    seconds: float | None
    """Seconds that it took; null: not recorded."""
    cut: str | None
    """What was cut of it for the budget; null: nothing."""


class AuditPlan(Row):
    """The plan of the audit, which was made before its first stage."""

    budget_s: float
    """Seconds that were given; 0: as long as it takes."""
    left_out: dict[str, str]
    """Methods that do not fit the model, with the reason."""
    stages: tuple[AuditStage, ...]
    """The stages."""


class AuditClass(Row):
    """What one class looks like to the model."""

    label: Count
    """Number of the class."""
    name: str
    """Its name; its number where it has none."""
    accuracy: Rate | None
    """Share of its inversions that the model gives this class; null: there are none."""


class AuditPair(Row):
    """What is known of two classes."""

    first: Count
    """Number of one class."""
    second: Count
    """Number of the other one."""
    touches: bool
    """Whether an image was found with both level and every other class below."""
    distance: Annotated[float, Field(ge=0)] | None
    """Euclidean distance from a start to the border, over all pixels in [0, 1]; null: none was reached."""
    confused: Rate | None
    """Share of the controls of either class that are given the other; null: there are no controls of them."""


class AuditGallery(Row):
    """What each class looks like to the model, and which classes touch, in figures: pictures are in the folder."""

    status: Status
    """How the search ended: ``ok``, or ``skipped`` where all or a part of it does not fit the model."""
    reason: str | None
    """Why something is missing."""
    by: str | None
    """How images were searched for: ``generator`` or ``pixels``; null: they were not."""
    outcome: str | None
    """How the search for images ended, in one word; null: there was none."""
    message: str | None
    """The same in words."""
    share_of_steps: Rate
    """Share of the steps of every search that the budget left; 1: nothing was cut."""
    classes: tuple[AuditClass, ...]
    """The classes that were looked at."""
    touching: tuple[AuditPair, ...]
    """The pairs of them that were tried, nearest first."""


class AuditFile(Row):
    """What an audit of image classifiers for leakage says: the content of ``audit.json``."""

    model_config = ConfigDict(
        json_schema_extra={
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "urn:invaudit:audit:2",
        }
    )

    schema_version: Literal[2]
    """Version of this file's fields."""
    date: str | None
    """When the audit ran; null: not recorded."""
    targets: tuple[AuditTarget, ...]
    """Every target with its verdict, negative controls last."""
    data: dict[str, Hash]
    """Content hash (SHA-256) of each image set by its name."""
    scope: dict[str, str]
    """What was tested: attacker, unit of privacy, designs, pool, methods, metrics, effort."""
    membership: tuple[AuditMembership, ...]
    """Membership scores."""
    controls: tuple[AuditControl, ...]
    """Attack controls and negative controls."""
    ood: AuditReadiness | None
    """Readiness for images of other kinds; null: not tested."""
    repeats: tuple[AuditRepeats, ...] | None
    """Own null and agreement over draws, by question; null: nothing was repeated."""
    claims: AuditClaims | None
    """Claims that single images were trained on; null: not made."""
    preflight: AuditPreflight | None
    """What was seen of model and images; null: not recorded."""
    plan: AuditPlan | None
    """What the audit was to cost, what it did, and what was cut; null: there was no plan."""
    gallery: AuditGallery | None = Field(default=None, exclude_if=lambda gallery: gallery is None)
    """What each class looks like to the model, and which touch; not there: the audit was made without images."""
    not_tested: Annotated[tuple[str, ...], Field(min_length=1)]
    """What did not run, and what no audit of this kind covers."""
    limits: str
    """What the verdicts do not say."""
    settings: dict[str, Any]
    """Resolved settings of the run."""
    command: tuple[str, ...]
    """The command that was given; empty: not recorded."""
    versions: dict[str, str | None]
    """Versions of Python and of the packages by name; null: not installed."""


def audit_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) that ``audit.json`` follows; ``schemas/audit.schema.json`` holds the same."""
    return AuditFile.model_json_schema()
