"""What the folder of an OOD run holds: rows of its tables and the records of its jobs."""

from typing import Literal

from pydantic import Field

from invaudit.records.columns import BadFraction, Count, Fraction, GoodFraction, Probability, Row, Seconds, Text
from invaudit.records.names import Role, Status

Group = str
"""``near``, ``far``, ``seen``, ``shift`` or ``control``; of a summary row over several, ``near and far``."""
Cost = Literal["low", "high"]
"""``high``: a detector that takes milliseconds for each image, and is scored on some images of each set only."""


class DetectorInfo(Row):
    """What a detector is."""

    name: str
    """Its name in tables."""
    role: Role
    """Whose it is: ours, pytorch-ood's, the user's own, or a statistic of pixels."""
    consumes: str
    """What it reads: ``logits``, ``features``, ``moments``, ``maps``, ``images``, several joined by ``+``."""
    cost: Cost = "low"
    """Whether it takes so long that it sees some images of each set only."""
    paper: str = ""
    """Where it comes from."""


class OodRow(Row):
    """One measurement: a row of ``table.csv``."""

    id_set: str
    """Name of the ID set."""
    seed: int
    """Seed of the run."""
    network: str
    """Name of the network; ``none`` for pixel statistics."""
    detector: str
    """Name of the detector."""
    ood_set: str
    """Name of the OOD set."""
    group: Group
    """Group of the OOD set."""
    trivial: bool
    """Whether a statistic of pixels that stores no image tells the set from ID at 0.98 or more, in either direction."""
    n_id: Count = None
    """ID test images that were scored."""
    n_ood: Count = None
    """OOD images that were scored."""
    auroc: GoodFraction = None
    """How often an OOD image scores higher than an ID image."""
    auroc_low: Fraction = None
    """Lower end of its 95 % interval over images."""
    auroc_high: Fraction = None
    """Upper end of it."""
    aupr_in: GoodFraction = None
    """Area under the precision-recall curve with ID as the positive class."""
    aupr_out: GoodFraction = None
    """The same with OOD as the positive class."""
    fpr95: BadFraction = None
    """Share of OOD images accepted when 95 % of ID images are accepted."""
    fpr95_id: BadFraction = None
    """Share of ID images rejected when 95 % of OOD images are rejected."""
    id_accuracy: GoodFraction = None
    """Accuracy of the network on the ID test images; a garbage answer counts as an error."""
    seconds: Seconds = None
    """Time that the detector took on all sets."""
    status: Status
    """How the measurement ended."""
    reason: Text = None
    """Why there is no result."""


class OodSummaryRow(Row):
    """One detector on one OOD set, or on an aggregate of sets, over the seeds: a row of ``summary.csv``."""

    id_set: str
    """Name of the ID set."""
    network: str
    """Name of the network; ``none`` for pixel statistics."""
    detector: str
    """Name of the detector."""
    ood_set: str
    """Name of the OOD set, or of the aggregate: ``mean-near``, ``mean-far``, ``worst-near``, ``worst``."""
    group: Group
    """Group of the set or sets."""
    trivial: bool
    """Whether the set is trivial for any seed; an aggregate is not marked."""
    n_sets: Count = None
    """Number of OOD sets."""
    seeds: Count = None
    """Number of seeds that have a result on all of them."""
    auroc: GoodFraction = None
    """Mean over seeds."""
    auroc_sd: Fraction = None
    """Standard deviation over seeds (ddof 1)."""
    aupr_in: GoodFraction = None
    """Mean over seeds."""
    aupr_out: GoodFraction = None
    """Mean over seeds."""
    fpr95: BadFraction = None
    """Mean over seeds."""
    fpr95_id: BadFraction = None
    """Mean over seeds."""
    difference: Fraction = None
    """AUROC of this row minus ours."""
    difference_low: Fraction = None
    """Lower end of its 95 % interval."""
    difference_high: Fraction = None
    """Upper end of it."""
    p_adjusted: Probability = None
    """p-value of the difference after Holm's correction over the baselines of the aggregate or group."""
    status: Status
    """How the measurements ended; of a row that holds some without a result, that of the first of them."""
    reason: Text = None
    """Why there is no result."""


class NetworkRow(Row):
    """Base of what is known of one network: it begins with which network that is."""

    id_set: str
    """Name of the ID set."""
    seed: int
    """Seed of the run."""
    network: str
    """Name of the network."""


class CostRow(NetworkRow):
    """What the training of one network took: a row of ``cost.csv``."""

    steps: Count = None
    """Optimiser steps of classifier and generator."""
    seconds: Seconds = None
    """Wall time of training."""
    inversions: Count = None
    """Images that exclusion put into the garbage class."""


class CalibrationRow(NetworkRow):
    """How sure a network is, and how often its detector raises a false alarm: a row of ``calibration.csv``."""

    n: Count = None
    """ID test images."""
    ece: BadFraction = None
    """Expected calibration error of the network's confidence."""
    id_accuracy: GoodFraction = None
    """Accuracy on the ID test images; a garbage answer counts as an error."""
    alpha: Fraction = None
    """False-alarm rate that the threshold is set for."""
    false_alarms: BadFraction = None
    """Share of ID test images that ``joint`` rejects at that threshold."""
    false_alarms_held_out: BadFraction = None
    """The same on one half of the calibration images, by a threshold from the other half."""
    band_low: Fraction = None
    """Lower end of the band that this share should lie in."""
    band_high: Fraction = None
    """Upper end of it."""


class WeightRow(NetworkRow):
    """How one part of ``joint`` weighs: a row of ``weights.csv``."""

    part: str
    """Name of the part."""
    weight: float | None = None
    """Mean over families of synthetic outliers of log(0.5 / error)."""


class DecisionRow(NetworkRow):
    """The papers' hard decision by the garbage class: a row of ``decisions.csv``."""

    ood_set: str
    """Name of the set; ``id-test`` for the ID test images."""
    n: Count = None
    """Images of the set."""
    garbage: Fraction = None
    """Share whose largest output is that of the garbage class."""


class ResistanceRow(NetworkRow):
    """What an attack could make against one network: a row of ``resistance.csv``."""

    attack: str
    """Name of the attack."""
    n: Count = None
    """Images that the attack made."""
    resistance: GoodFraction = None
    """One minus the share given a class with p > 0.5, or, of changed ID images, another class than their own."""
    accepted: BadFraction = None
    """Share that our detector accepts."""
    passed: BadFraction = None
    """Share that fools the network and that our detector accepts."""
    outcome: Text = None
    """How the attack ended."""


class AttackRow(NetworkRow):
    """Which images of an attack one detector accepts: a row of ``attacks.csv``."""

    attack: str
    """Name of the attack."""
    detector: str
    """Name of the detector."""
    n: float | None = None
    """Images that the detector has seen."""
    accepted: BadFraction = None
    """Share that it accepts."""
    passed: BadFraction = None
    """Share that fools the network and that it accepts."""
    auroc: GoodFraction = None
    """How often such an image scores higher than an ID image."""
    status: Status
    """How the measurement ended."""
    reason: Text = None
    """Why there is no result."""


SIDE_TABLES: dict[str, type[Row]] = {
    "cost": CostRow,
    "calibration": CalibrationRow,
    "weights": WeightRow,
    "decisions": DecisionRow,
    "resistance": ResistanceRow,
    "attacks": AttackRow,
}
"""Side files of an OOD run by name, without ``.csv`` -> what their rows are."""


class DetectorOutcome(DetectorInfo):
    """How one detector fared on one network."""

    status: Status = "ok"
    """How it ended."""
    reason: str = ""
    """Why it has no scores."""
    seconds: float = 0.0
    """Time that it took on all sets."""


class ImageSetRecord(Row):
    """What identifies an image set."""

    count: int
    """Number of images."""
    hash: str
    """Content hash, SHA-256."""
    by_class: tuple[int, ...] | None = None
    """Number of images of each class, where the set has classes."""


class SetsRecord(Row):
    """What identifies the image sets of one seed."""

    splits: dict[str, ImageSetRecord]
    """``train``, ``fit``, ``calibrate`` and ``test``."""
    ood: dict[str, ImageSetRecord]
    """OOD sets that are there."""
    groups: dict[str, str]
    """Group of every OOD set."""
    missing: dict[str, str]
    """OOD set -> why it is not there."""


class CostRecord(Row):
    """What the training of a network took."""

    steps: int
    """Optimiser steps of classifier and generator."""
    seconds: float
    """Wall time."""
    inversions: int
    """Images that exclusion put into the garbage class."""


class CalibrationRecord(Row):
    """How sure a network is, and how often its detector raises a false alarm; see `CalibrationRow`."""

    ece: float
    """Expected calibration error."""
    alpha: float
    """False-alarm rate that the threshold is set for."""
    false_alarms: float | None = None
    """Share of ID test images rejected."""
    false_alarms_held_out: float | None = None
    """Share of one half of the calibration images rejected by the other."""
    band_low: float | None = None
    """Lower end of the band of that share."""
    band_high: float | None = None
    """Upper end of it."""


class OodJobRecord(Row):
    """The record of one job, a network with a seed: ``records/seed-SEED-NETWORK.json``."""

    schema_version: Literal[2] = 2
    """Version of this record."""
    sets: SetsRecord
    """The image sets."""
    detectors: dict[str, DetectorOutcome]
    """Every detector by name, in the order of the table."""
    classes: int | None = None
    """ID classes of the network; None for the pixel statistics."""
    cost: CostRecord | None = None
    """What training took; None for a network that is not trained."""
    calibration: CalibrationRecord | None = None
    """None for the pixel statistics."""
    weights: dict[str, float] = Field(default_factory=dict)
    """Weight of each part of ``joint``."""
    attacks: dict[str, str] = Field(default_factory=dict)
    """Attack -> how its inversion ended."""
