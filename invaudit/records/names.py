"""Names in a run folder that several parts share: files, sets, networks, roles, and keys of stored arrays."""

from typing import Literal

from invaudit.runtime.runs import CONFIG as CONFIG

TABLE, SUMMARY, ENVIRONMENT = "table.csv", "summary.csv", "environment.json"
RUN_RECORD, CONTROLS_RECORD = "records/run.json", "records/controls.json"
SCORES, SCORES_RECORD = "scores", "records/scores.json"
"""Folder of the arrays that every number is made from, and the record of their hashes, by their paths in the run."""
READINESS = "readiness.csv"
"""Side file of the audit of a model: how well detectors tell other images from those of its kind."""
MEMBERSHIP_TESTS, REPEATS, IMAGES_TABLE, STAGES = "membership_tests.csv", "repeats.csv", "images.csv", "stages.csv"
"""Side files of the audit of a model: tests of membership, tests on other draws, a row for each image, its costs."""
COMPARISON = "comparison.csv"
"""What the comparison of two runs writes."""
DETECTORS, METRICS = "detectors.csv", "metrics.csv"
"""Side files: what each detector of an OOD run is, and which way each metric of a leakage run is better."""

Role = Literal["ours", "library", "user", "statistic"]
"""Whose a detector is: ours, pytorch-ood's, the user's own; or a statistic of pixels, which sees no network."""

Status = Literal["ok", "skipped", "failed", "not-applicable"]
"""How a measurement ended."""

OURS = ("full", "joint")
"""Network and detector that every other row of an OOD table is compared with."""
PIXELS = "none"
"""The network of the pixel statistics."""
PIXEL_PREFIX = "pixel-"
"""How these statistics are named among the detectors."""
PIXEL_NEIGHBOUR, PIXEL_NEIGHBOUR_DISTANCE = "pixel-neighbour", "pixel-neighbour-distance"
"""Rows of the nearest training image in pixels, by cosine and by Euclidean distance; the first is in every headline.

They store training images, as detectors do, and mark no OOD set as trivial.
"""
PIXEL_NEIGHBOURS = (PIXEL_NEIGHBOUR, PIXEL_NEIGHBOUR_DISTANCE)
UNTRAINED = "random"
"""The network that is not trained, a control."""
CONTROL_NETWORKS = (PIXELS, UNTRAINED)

ID_TEST, CALIBRATE, HELD_OUT = "id-test", "calibrate", "held-out"
"""Sets of ID images that are scored beside the OOD sets; by the last one scores are scaled."""
CONTROL_SAME, CONTROL_SPLIT = "control-same", "control-split"
"""OOD sets that are ID images: the same ones again, and one half of them."""
ATTACK_PREFIX = "attack-"
"""How sets of images that fresh generators make are named."""
AGGREGATES: dict[str, tuple[Literal["mean", "worst"], tuple[str, ...]]] = {
    "mean-near": ("mean", ("near",)),
    "mean-far": ("mean", ("far",)),
    "worst-near": ("worst", ("near",)),
    "worst": ("worst", ("near", "far")),
}
"""Rows of a summary over several OOD sets -> mean or worst, and of which groups."""

COMPARED_GROUPS = ("near", "far")
"""Groups of OOD sets on which ours is compared with baselines."""

GARBAGE_LOGIT = "garbage-logit"
"""Our detector that is the garbage class alone."""
GARBAGE_DETECTORS = ("garbage-probability", GARBAGE_LOGIT)
"""Our detectors that need a garbage class."""
HALF, LABELS, PREDICTIONS = "half", "labels", "predictions"
"""Arrays beside the scores of a job: ID test images that play OOD in ``control-split``, their classes and answers."""
FOOLED = "fooled"
"""In place of a detector in `scores_key`: which images of an attack the network takes for a class."""
INVERSIONS_ENDING, ATTACKS_ENDING = "-inversions", "-attacks"
"""Endings of the files of a network's pictures."""
IMAGES, ACCEPTED = "images", "accepted"
"""In place of a set in `scores_key`: the pictures of an attack, and which of them our detector accepts."""

GIVEN = "given"
"""Method that tables name for reconstructions that somebody made, and group of OOD sets that a user names."""
ATTACK_CONTROL = "attack-control"
"""The target of a leakage run that is known to leak."""
ATTACK_CONTROL_COMMAND = "invaudit leakage attack-control --method METHOD --out FOLDER"
"""How to make one for reconstructions that somebody else made."""

_SEPARATOR = "::"


def part_name(detector: str, part: str) -> str:
    """Return the name of the row of a part of a detector."""
    return f"{detector}/{part}"


def whole_of(detector: str) -> str:
    """Return the detector that a row of a part belongs to; a whole detector is its own."""
    return detector.partition("/")[0]


def scores_key(detector: str, image_set: str) -> str:
    """Return the name of the array that holds the scores of a detector on a set."""
    return f"{detector}{_SEPARATOR}{image_set}"


def split_scores_key(key: str) -> tuple[str, str]:
    """Return detector and set of an array's name."""
    detector, _, image_set = key.rpartition(_SEPARATOR)
    return detector, image_set


def scores_file(seed: int, network: str) -> str:
    """Return where in a run folder the scores of a job are."""
    return f"scores/seed-{seed}/{network}.npz"


def job_name(seed: int, network: str) -> str:
    """Return the name of the record of an OOD job."""
    return f"seed-{seed}-{network}"
