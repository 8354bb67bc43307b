"""What the pages say of images that pass the detectors: attacks, and the images that ours takes most for ID."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.publish.pages.markdown import Cells, code, markdown_table, percent
from benchmarks.publish.pages.ood.record import means_of_all, read_with_baselines
from invaudit.records import AttackRow
from invaudit.records.names import OURS
from invaudit.report.printing import DASH
from invaudit.runtime import InputError, read_json

N_STRONGEST = 3
COUNTED = ("shown", "all", "accepted", "rejected")
"""Groups of images in which the sure judges are counted."""


def attacker_section(folder: Path) -> Iterator[str]:
    """Give how many attack images each detector accepts: ours, and the strongest of the others."""
    attacks = read_with_baselines(folder, "attacks.csv", AttackRow)
    rows = []
    for _, of_network in attacks.groupby("network", sort=False):
        rows += strongest_detectors(of_network)
    yield "## Inversion as attacker"
    yield (
        "Attack images that a detector accepts, and those that fool the network as well, mean over the attacks; ours, "
        "and the three other detectors that accept fewest:"
    )
    yield markdown_table(("network", "detector", "accepted", "accepted and fooled", "AUROC"), rows)


def strongest_detectors(attacks: pd.DataFrame) -> Iterator[Cells]:
    """Give ours, and the three detectors of others that accept the fewest attack images of one network."""
    columns = ["accepted", "passed", "auroc"]
    means = means_of_all(attacks, ["network", "detector", "is_baseline"], columns).dropna()
    means = means.reset_index()
    baselines = means[means["is_baseline"]].sort_values(["accepted", "auroc"], ascending=[True, False])
    ours = means[means["detector"] == OURS[1]]
    for _, row in pd.concat([ours, baselines.head(N_STRONGEST)]).iterrows():
        yield code(row["network"]), row["detector"], *(percent(row[name]) for name in columns)


def worst_images_section(folder: Path) -> Iterator[str]:
    """Give what `worst_images.py` recorded, with its pictures; nothing where it was not run."""
    records = [read_json(path) for path in sorted(folder.glob("worst-*.json"))]
    if not records:
        return
    judges = records[0]["judges"]
    if any(record["judges"] != judges for record in records):
        raise InputError(f"{folder}: the records of the worst images have different judges; make them all again")
    names = " and ".join(f"`{judge['arch']}`, ID accuracy {percent(judge['id_accuracy'])}" for judge in judges)
    yield "## Images that ours takes most for ID"
    yield (
        "Shown are the lowest scores of an OOD set (mean over seeds; the number of "
        "a row is the rank of its first image), or of an attack that of each seed and of each class that was asked "
        f"for. Below an image: its class by `{judges[0]['arch']}`. ✓: an image of an attack that ours accepts at 5 % "
        f"false alarms. *: two networks that had no part in it ({names}) are both sure of one class (p > 0.99). The "
        "table says how many per cent they are sure of; of accepted and rejected ones, of the very class asked for."
    )
    rows = []
    for record in records:
        rows.append((code(record["images_of"]), *(sure_share(record.get(group)) for group in COUNTED)))
    yield markdown_table(("sure of images of", *COUNTED), rows)
    for record in records:
        picture = f"worst-{folder.name.removeprefix('ood-')}-{record['images_of']}.png"
        yield f"![Images of {record['images_of']} with the lowest scores](../images/{picture})"


def sure_share(counted: dict[str, Any] | None) -> str:
    """Return the share of some images that both judges are sure of, and how many images there are."""
    if not counted or not counted["images"]:
        return DASH
    return f"{percent(counted['both_sure'])} of {counted['images']}"
