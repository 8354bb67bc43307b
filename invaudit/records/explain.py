"""What ``invaudit explain`` finds: the records of its stages, and ``explain.json``, which holds all of them.

The fields are a promise to readers outside: they stay as they are until ``schema_version`` changes.
"""

from typing import Any, Literal

from pydantic import ConfigDict

from invaudit.records.audit_file import Count, Hash, Rate
from invaudit.records.columns import Row
from invaudit.records.names import Status
from invaudit.runtime.runs import RunKind

EXPLAIN = "explain.json"
"""What was found, for programs."""
EXPLAIN_RUN = RunKind("explain", schema=1, readable=(1,))
INVERSION, NEAREST, MEASURES, BORDERS, ADVERSARIAL, MASKS = STAGES = (
    "inversion", "nearest", "measures", "borders", "adversarial", "masks",
)  # fmt: skip
"""Stages of the command, in order; the arrays of each are in ``scores/STAGE.npz``."""


class Figure(Row):
    """A figure with its 95 % interval."""

    value: float
    """The figure."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    n: Count
    """Images behind it."""
    method: str
    """How the interval was made."""


class ExplainedModel(Row):
    """The network."""

    name: str
    """Its file, or the name that was given to it."""
    hash: Hash
    """Content hash (SHA-256) of its weights, input spec and classes, as they were explained."""
    architecture: str | None
    """Name of its architecture, where it is known."""
    input: tuple[Count, Count, Count]
    """Channels, height and width of an image."""
    n_classes: Count
    """Number of classes that it knows."""
    classes: tuple[Count, ...]
    """Numbers of the classes that were explained; labels below are positions in this list."""
    class_names: tuple[str, ...]
    """A name for each of them, in this order; its number where it has none."""
    notes: tuple[str, ...]
    """What to know of how it was read."""


class ExplainedData(Row):
    """The real images."""

    name: str
    """What they were named."""
    hash: Hash
    """Content hash (SHA-256) of images and labels."""
    n: Count
    """Number of images of the classes that were explained."""
    accuracy: Rate
    """Share of them that the network gives their class."""


class SecondNetwork(Row):
    """The second network."""

    origin: Literal["given", "trained"]
    """Where it comes from."""
    hash: Hash
    """Content hash (SHA-256)."""
    accuracy: Figure | None
    """Share of real images that it gives their class; null: there are none."""


class PlanRecord(Row):
    """What an explanation was to cost, before its first stage."""

    seconds_per_pass: float
    """Seconds that one image takes forward and back through the network."""
    share: float
    """Share of the steps of every search that was left for the budget; 1: nothing was cut."""


class StageRecord(Row):
    """How a stage ended."""

    status: Status = "ok"
    """How it ended."""
    reason: str | None = None
    """Why there is no result, or what is missing of it."""


class InversionRecord(StageRecord):
    """What a search for images of each class gave: arrays ``images`` (class, image, C, H, W)."""

    by: Literal["generator", "pixels"]
    """How they were searched for."""
    outcome: str
    """How the search ended, in one word."""
    message: str
    """The same in words."""
    accuracy: tuple[Rate, ...]
    """For each class the share of its inversions that the network gives this class."""


class NearestRecord(StageRecord):
    """The real images that are most similar to inversions: arrays ``images``, as of the inversions, and ``index``."""

    metric: str | None = None
    """Metric of similarity, higher = more similar."""
    similarity: tuple[float | None, ...] = ()
    """For each class the mean similarity of an inversion to its nearest real image of the class."""


class MeasureRow(Row):
    """One figure of the inversions."""

    name: str
    """Name of the measure."""
    label: int | None
    """The class that it speaks of; null: all."""
    figure: Figure | None
    """The figure; null: there is none."""
    reason: str | None
    """Why there is none."""


class MeasuresRecord(StageRecord):
    """Figures of the inversions, beside those of real images."""

    measures: tuple[MeasureRow, ...] = ()
    """One row for each measure, some also for each class."""


class BorderRow(Row):
    """One image that was searched for between two classes."""

    by: Literal["pixels", "generator"]
    """How it was searched for; arrays ``BY-starts``, ``BY-images`` and ``BY-goals`` in the order of these rows."""
    first: int
    """Class where the search began."""
    second: int
    """The other class."""
    p_first: Rate | None
    """Probability of the first class."""
    p_second: Rate | None
    """Probability of the second."""
    p_third: Rate | None
    """Probability of the most likely other output."""
    distance: float | None
    """Euclidean distance from the start, over all pixels in [0, 1]."""
    attack_distance: float | None
    """The same of a minimal-norm attack from this start; null: it failed."""
    second_model_class: int | None
    """The most likely output of the second network; null: there is none."""
    second_model_p: Rate | None
    """Its probability."""
    status: str
    """``reached``, or why not."""


class PairRow(Row):
    """What is known of two classes."""

    first: int
    """One class."""
    second: int
    """The other one."""
    touches: bool
    """Whether an image was found with both level and every other output below."""
    distance: float | None
    """Median distance from the start of border images that were reached; null: none was."""
    confused: Rate | None
    """Share of the images of either class that are given the other; null: there are no images."""


class BordersRecord(StageRecord):
    """Border images, the atlas, and planes through start, border and goal: arrays ``plane-N-...``."""

    attack: str | None = None
    """The minimal-norm attack that distances are compared with."""
    starts: Literal["real", "inversions"] | None = None
    """What the search by pixels began with."""
    borders: tuple[BorderRow, ...] = ()
    """One row for each image."""
    pairs: tuple[PairRow, ...] = ()
    """The atlas, by pixels: one row for each pair that was tried."""
    planes: tuple[int, ...] = ()
    """Positions of the border images by pixels that have a plane."""


class AttackRow(Row):
    """What one attack did to real images that the network classifies rightly."""

    attack: str
    """Name of the attack; ``inversion``: a generator that is shown an image and a class."""
    settings: dict[str, Any]
    """Its settings."""
    aim: str
    """What the network was to answer."""
    n: Count
    """Images that were attacked."""
    success: Figure
    """Share of them that the network answers as was asked for."""
    euclidean: float | None
    """Median Euclidean norm of the changes that succeed, over all pixels in [0, 1]."""
    largest: float | None
    """Median of their largest change of a pixel."""
    transfer: Figure | None
    """Share of the successes that fool the second network, too."""
    accepted: Figure | None
    """Share of the successes that the guard accepts."""
    accepted_photos: Figure | None
    """Share of the images themselves that it accepts."""
    reason: str | None
    """Why a value is null."""


class CounterfeitRow(Row):
    """Images without meaning that the network is sure of."""

    n: Count
    """Number of images."""
    success: Figure
    """Share that the network gives the wanted class."""
    sure: Figure
    """Share of which it is sure."""
    confidence: Rate
    """Median probability of the wanted class."""
    transfer: Figure | None
    """Share that the second network gives that class, too."""
    accepted: Figure | None
    """Share that the guard accepts."""


class AdversarialRecord(StageRecord):
    """What fools the network: arrays ``photos``, ``labels``, ``ATTACK-images``, ``ATTACK-answers``."""

    attacks: tuple[AttackRow, ...] = ()
    """One row for each attack."""
    counterfeits: CounterfeitRow | None = None
    """Counterfeits of every class."""


class MaskRow(Row):
    """What the decision on one image rests on."""

    image: str
    """Its file, or where it comes from."""
    label: int
    """The output that the network gives it."""
    p_image: Rate
    """Its probability on the whole image."""
    kept: Rate
    """Share of the pixels that the mask keeps."""
    p_kept: Rate
    """The probability of the same output on what is kept."""
    mask_deletion: Rate
    """Area under the curve of the probability as the most important pixels are taken away; lower: found better."""
    mask_insertion: Rate
    """Area under the curve as they are brought in; higher: found better."""
    gradient_deletion: Rate
    """The first area where input gradients say what is important."""
    gradient_insertion: Rate
    """The second one."""
    random_deletion: Rate
    """The first area in an order by chance, which says nothing."""
    random_insertion: Rate
    """The second one."""


class MasksRecord(StageRecord):
    """What decisions on some images rest on: arrays ``images``, ``importance``, ``kept``, the curves."""

    masks: tuple[MaskRow, ...] = ()
    """One row for each image."""


class Explanation(Row):
    """What a network has learned, as far as was looked: the content of ``explain.json``."""

    model_config = ConfigDict(
        json_schema_extra={
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "urn:invaudit:explain:1",
        }
    )

    schema_version: Literal[1] = 1
    """Version of this record."""
    model: ExplainedModel
    """The network."""
    data: ExplainedData | None
    """The real images; null: none were given."""
    second: SecondNetwork | None
    """The second network; null: there is none."""
    seed: int
    """Seed of everything random."""
    share_of_steps: Rate
    """Share of the steps of every search that was left for the budget; 1: nothing was cut."""
    inversion: InversionRecord
    """What each class looks like to it."""
    nearest: NearestRecord
    """The real images nearest to that."""
    measures: MeasuresRecord
    """Figures of it."""
    borders: BordersRecord
    """Which classes touch."""
    adversarial: AdversarialRecord
    """What fools it."""
    masks: MasksRecord
    """What decisions rest on."""


def explain_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of ``explain.json``; ``schemas/explain.schema.json`` holds the same."""
    return Explanation.model_json_schema()
