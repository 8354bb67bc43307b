"""What lowers a leak, as far as recorded results of this project show it."""

from typing import NamedTuple

from invaudit.report.audit.content import Content
from invaudit.report.printing import level
from invaudit.report.sections import Grid, GridColumn, GridPart, GridRow, Section

DIGITS, TARGETS = "leakage-digits", "leakage-digits-targets"
"""Records in ``benchmarks/results``."""


class Recorded(NamedTuple):
    """What a record holds of one way to train.

    Attributes:
        remedy: What was done.
        record: Name of the record.
        target: The network in it.
        auroc: Mean AUROC of the loss over seeds.
        leaks: Seeds in which the reconstructions of ``kkt`` are called a leak by any metric.
        seeds: Seeds.
    """

    remedy: str
    record: str
    target: str
    auroc: float
    leaks: int
    seeds: int


RECORDED = {
    "Perceptron, 40 digits": (
        Recorded("as it is", DIGITS, "mlp", 0.853, 10, 10),
        Recorded("half as many images: 20", TARGETS, "mlp-20", 0.986, 3, 3),
        Recorded("more data: 100 images", TARGETS, "mlp-100", 0.660, 3, 3),
        Recorded("more data: 400 images", TARGETS, "mlp-400", 0.568, 3, 3),
        Recorded("augmentation: shifts of 1 pixel, twice as many steps", TARGETS, "mlp-shifted", 0.731, 1, 3),
        Recorded("dropout 0.5", TARGETS, "mlp-dropout", 0.895, 3, 3),
        Recorded("weight decay 0.001, more and smaller steps", DIGITS, "mlp-decay", 0.868, 10, 10),
    ),
    "Convolutional network, 40 digits": (
        Recorded("as it is, with weight decay 0.002", DIGITS, "cnn", 0.759, 10, 10),
        Recorded("augmentation: shifts of 1 pixel", TARGETS, "cnn-shifted", 0.705, 1, 3),
        Recorded("dropout 0.5", TARGETS, "cnn-dropout", 0.828, 3, 3),
    ),
}
"""Network -> what was recorded of it."""
SENTENCES = (
    "More data: each image leaves less behind. Membership falls towards guessing, yet reconstructions are still called "
    "a leak with 400 images.",
    "Augmentation: shifting images in training lowers both; reconstructions were called a leak in one seed of three.",
    "Weight decay: no benefit is recorded. The network with it, trained with more, smaller steps too, leaks as much.",
    "Dropout: no benefit is recorded.",
    "Fewer epochs: nothing is recorded here. Stopping early is worth a try; audit both and compare.",
    "Training with differential privacy bounds what one image can give away. Nothing is recorded of it here either.",
    "Keeping the weights to yourself takes reconstructions from them out of reach of strangers, not the scores that "
    "need only the model's answers.",
)
IF_NOT = "This audit did not call it a leak. Should another one do so, this is where to begin."
AFTERWARDS = (
    "Then audit the repaired model with the same members and controls, and compare: invaudit compare BEFORE AFTER. "
    "What helped small networks of digits may help yours less, or more; only an audit of it says so."
)


def what_now(content: Content) -> Section:
    """Return what can be done about a leak, with recorded effects."""
    first = "Until it is clear what it gives away, do not give it out." if content.leaks else IF_NOT
    columns = [
        GridColumn("training"),
        GridColumn("AUROC of the loss (%)", is_numeric=True),
        GridColumn("reconstruction called a leak", is_numeric=True),
        GridColumn("record"),
    ]
    parts = []
    for network, recorded in RECORDED.items():
        rows = []
        for one in recorded:
            cells = [one.remedy, level(one.auroc), f"{one.leaks} of {one.seeds} seeds", f"{one.record}, {one.target}"]
            rows.append(GridRow(cells))
        parts.append(GridPart(rows, network))
    return Section(
        "It leaks. What now?",
        lines=(f"{first} What lowered leaks of small networks that memorise digits, as far as it is recorded:",),
        bullets=SENTENCES,
        grid=Grid(columns, parts),
        remarks=(
            "Means over the seeds of the record; 50 % is guessing. The records lie in benchmarks/results of invaudit's "
            "repository.",
            AFTERWARDS,
        ),
    )
