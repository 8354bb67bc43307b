"""Does the audit of a model say what it should? Planted leaks, networks that cannot leak, and draws of controls.

    python benchmarks/choices/model_audits.py --work FOLDER --out benchmarks/results/model_audits.csv PART ...

Parts: ``planted`` (three networks that know 40, 100 and 500 images by heart, budget of 8 minutes each), ``clean`` (40
networks that were trained on other images than the members), ``draws`` (one network that leaks and one that cannot,
each with 20 draws of 300 controls). Audits that a folder holds are not done again. Digits need no data; the planted
leaks take FashionMNIST and CIFAR-10 from INVAUDIT_DATA.
"""

import argparse
import csv
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from invaudit.audit import ModelAuditSettings, audit_model
from invaudit.data import ImageSet, load, seeded_rng
from invaudit.leakage import RECIPES, TargetRecipe, train_target
from invaudit.models import load_model, save_target
from invaudit.runtime.environment import describe_environment
from invaudit.runtime.files import npz_bytes, write_bytes

QUICK = TargetRecipe(arch="mlp-100", learning_rate=0.3, steps=1_500, weight_decay=1e-3)
"""A network that knows its 40 digits by heart after a second."""
ONE_ATTACK = {
    "methods": {"kkt": {"kind": "kkt", "settings": {"images": 80, "restarts": 1, "steps": 600}}},
    "metrics": {"ssim": None},
    "known_leak": QUICK.model_dump(),
    "draws": 1_999,
    "budget": 0,
}
"""Settings of the many audits: one attack and one metric."""
PLANTED = {
    "digits-40": ("digits", 40, RECIPES["mlp-decay"]),
    "fashion-mnist-100": ("fashion-mnist:train", 100, RECIPES["mlp-decay"]),
    "cifar10-500": (
        "cifar10:train",
        500,
        TargetRecipe(arch="tiny-cnn", optimizer="adam", learning_rate=1e-3, steps=1_500),
    ),
}
CLEAN, DRAWS = 40, 20
N_MEMBERS, N_CONTROLS = 40, 600


@dataclass(frozen=True)
class AuditRow:
    """What one audit said.

    Attributes:
        part: Part of the study.
        name: Name of the audit in it.
        leaks: Whether the network was trained on the members.
        membership: Verdict, with its reasons.
        reconstruction: Verdict, with its reasons.
        first: Score or test with the smallest adjusted p-value.
        seconds: Time of the audit.
    """

    part: str
    name: str
    leaks: bool
    membership: str
    reconstruction: str
    first: str
    seconds: float


def planted(work: Path) -> Iterator[AuditRow]:
    """Audit three networks that know their images by heart, with the defaults of the command."""
    for name, (data, n_members, recipe) in PLANTED.items():
        images = load(data)
        order = torch.randperm(len(images), generator=seeded_rng(0, f"planted/{name}"))
        n_controls = min(2_000, len(images) - n_members)
        sides = images.subset(order[:n_members]), images.subset(order[n_members : n_members + n_controls])
        yield audited(work, "planted", name, trained_on=sides[0], sides=sides, recipe=recipe, settings={"budget": 480})


def clean(work: Path) -> Iterator[AuditRow]:
    """Audit networks that were trained on other digits than the members."""
    digits = load("digits")
    for number in range(CLEAN):
        order = torch.randperm(len(digits), generator=seeded_rng(number, "clean"))
        ends = np.cumsum([N_MEMBERS, N_MEMBERS, N_CONTROLS])
        members, others, controls = order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] : ends[2]]
        sides = digits.subset(members), digits.subset(controls)
        yield audited(work, "clean", f"{number:02d}", digits.subset(others), sides, QUICK, ONE_ATTACK)


def draws(work: Path) -> Iterator[AuditRow]:
    """Audit one network that leaks and one that cannot with many draws of controls."""
    digits = load("digits")
    order = torch.randperm(len(digits), generator=seeded_rng(0, "draws"))
    members, others, rest = digits.subset(order[:40]), digits.subset(order[40:80]), order[80:]
    for trained_on, name in ((members, "leaks"), (others, "clean")):
        for number in range(DRAWS):
            drawn = rest[torch.randperm(len(rest), generator=seeded_rng(number, "draws/controls"))[:300]]
            sides = members, digits.subset(drawn)
            yield audited(work, "draws", f"{name}-{number:02d}", trained_on, sides, QUICK, ONE_ATTACK)


def audited(
    work: Path,
    part: str,
    name: str,
    trained_on: ImageSet,
    sides: tuple[ImageSet, ImageSet],
    recipe: TargetRecipe,
    settings: dict[str, object],
) -> AuditRow:
    """Train a network, audit it, and return what the audit says; one that is done is read."""
    folder = work / part / name
    done = folder / "row.json"
    if done.exists():
        return AuditRow(**json.loads(done.read_text()))
    files = {}
    for side, images in zip(("members", "controls"), sides, strict=True):
        files[side] = str(folder / f"{side}.npz")
        arrays = {"images": images.images.numpy(), "labels": images.labels.numpy()}
        write_bytes(Path(files[side]), npz_bytes(arrays))
    classes = max(images.classes for images in (trained_on, *sides))
    target = train_target(recipe, trained_on.floats(), trained_on.labels, classes, seeded_rng(0, f"{part}/{name}"))
    save_target(target.eval(), folder / "network.safetensors")
    chosen = ModelAuditSettings.model_validate(files | settings)
    start = time.perf_counter()
    result = audit_model(load_model(folder / "network.safetensors"), chosen, folder / "audit", resume=True)
    row = AuditRow(
        part,
        name,
        trained_on is sides[0],
        said(result.membership),
        said(result.reconstruction),
        first_of(result.folder),
        round(time.perf_counter() - start, 1),
    )
    done.write_text(json.dumps(asdict(row)))
    return row


def said(verdict: object) -> str:
    """Return a verdict with its reasons."""
    if verdict is None:
        return "not tested"
    reasons = verdict.reasons  # pyright: ignore[reportAttributeAccessIssue]
    word = verdict.verdict  # pyright: ignore[reportAttributeAccessIssue]
    return f"{word} ({', '.join(reasons)})" if reasons else word


def first_of(folder: Path) -> str:
    """Return the score or test with the smallest adjusted p-value; of equal ones that with the larger AUROC or hits."""
    best: tuple[float, float, str] | None = None
    for table, name, size in (
        ("membership_tests.csv", "{score}", "auroc"),
        ("table.csv", "{method}:{metric}", "distinct_hits"),
    ):
        with (folder / table).open(newline="") as file:
            for row in csv.DictReader(file):
                if row["p_adjusted"]:
                    key = (float(row["p_adjusted"]), -float(row[size] or 0), name.format(**row))
                    best = key if best is None else min(best, key)
    return "" if best is None else best[2]


def main() -> None:
    """Run parts of the study, and write all rows that there are."""
    parts = {"planted": planted, "clean": clean, "draws": draws}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("parts", nargs="+", choices=parts)
    options = parser.parse_args()
    for part in options.parts:
        for row in parts[part](options.work):
            print(row, flush=True)
    rows = []
    for part in parts:
        for file in sorted((options.work / part).glob("*/row.json")):
            rows.append(json.loads(file.read_text()))
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(AuditRow.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    options.out.with_suffix(".json").write_text(json.dumps(describe_environment(), indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
