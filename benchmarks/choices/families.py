"""Which networks of torchvision and timm load, fit and invert: random weights, small inputs, one of each family.

    python benchmarks/choices/families.py --out docs/families.md [NAME ...]

``load``: a state dict of the network, as a file, is read back and gives the same logits. ``fit``: a guard is made of it
as it is. ``invert``: a generator takes two steps against it, and its images are finite.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from invaudit.data import ImageSet, Splits, seeded_rng
from invaudit.inversion import InversionSettings, invert
from invaudit.models import InputSpec, Target, load_model
from invaudit.models.devices import seed_torch
from invaudit.models.families import build_network
from invaudit.ood.fitting import guard
from invaudit.runtime import write_text
from invaudit.runtime.errors import InputError

CLASSES = 3
SIDES = {
    "torchvision": {
        "alexnet": 64, "convnext_tiny": 32, "densenet121": 32, "efficientnet_b0": 32, "efficientnet_v2_s": 32,
        "googlenet": 32, "inception_v3": 96, "maxvit_t": 224, "mnasnet0_5": 32, "mobilenet_v2": 32,
        "mobilenet_v3_small": 32, "regnet_y_400mf": 32, "resnet18": 32, "resnext50_32x4d": 32, "shufflenet_v2_x0_5": 32,
        "squeezenet1_1": 32, "swin_t": 32, "swin_v2_t": 32, "vgg11": 32, "vit_b_32": 224, "wide_resnet50_2": 32,
    },
    "timm": {
        "beit_base_patch16_224": 224, "cait_xxs24_224": 224, "convnext_atto": 32, "deit_tiny_distilled_patch16_224": 32,
        "deit_tiny_patch16_224": 32, "densenet121": 32, "dla46_c": 32, "edgenext_xx_small": 32,
        "efficientnet_lite0": 32, "efficientvit_b0": 32, "eva02_tiny_patch14_224": 56, "fastvit_t8": 32,
        "ghostnet_050": 32, "levit_128s": 224, "mixer_s32_224": 224, "mobilenetv3_small_050": 32, "mobilevit_xxs": 32,
        "poolformer_s12": 32, "pvt_v2_b0": 32, "regnety_002": 32, "repvgg_a0": 32, "resmlp_12_224": 224,
        "resnet18": 32, "rexnet_100": 32, "swin_tiny_patch4_window7_224": 224, "tf_efficientnet_b0": 32,
        "tinynet_e": 32, "vgg11": 32, "vit_tiny_patch16_224": 32, "xcit_nano_12_p16_224": 32,
    },
}  # fmt: skip
"""Family -> one network of each kind -> side of its input."""


class Outcome(NamedTuple):
    """What works with a network: ``yes``, or the reason why not."""

    load: str
    fit: str
    invert: str


def try_network(arch: str, side: int) -> Outcome:
    """Load, fit and invert a network with random weights."""
    spec = InputSpec(3, side, side, (0.5,), (0.25,))
    done: list[str] = []
    try:
        target = _loaded(arch, spec)
    except InputError as error:
        return Outcome(f"refused: {error}", "", "")
    for step in (_fit, _invert):
        done.append(_attempt(step, target))
    return Outcome("yes", *done)


def table(outcomes: dict[str, Outcome]) -> str:
    """Return the page with one row for each network."""
    lines = [
        "# Networks of torchvision and timm", "",
        "One network of each family, with random weights and a small input: is it read from a state dict with the same",
        "logits (*load*), made a guard as it is (*fit*), and inverted for two steps (*invert*)? Made by",
        "[`families.py`](../benchmarks/choices/families.py). What is refused says why, at the door.", "",
        "| network | load | fit | invert |", "|---|---|---|---|",
    ]  # fmt: skip
    for arch, outcome in outcomes.items():
        lines.append(f"| `{arch}` | {' | '.join(outcome)} |")
    return "\n".join(lines) + "\n"


def _loaded(arch: str, spec: InputSpec) -> Target:
    with seed_torch(seeded_rng(0, "families")):
        network = build_network(arch, spec, CLASSES).eval()
    images = _images(spec, 2).floats()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "weights.pth"
        torch.save(network.state_dict(), path)
        target = load_model(path, arch=arch, spec=spec)
        torch.testing.assert_close(target(images), network((images - 0.5) / 0.25))
    return target


def _images(spec: InputSpec, n: int) -> ImageSet:
    pixels = torch.randint(256, (n, *spec.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
    return ImageSet("noise", pixels, torch.arange(n) % CLASSES)


def _fit(target: Target) -> None:
    parts = [_images(target.spec, n) for n in (30, 31, 32, 33)]
    guarded = guard(target, Splits(*parts))
    if not guarded.calibration.isfinite().all():
        raise ArithmeticError("scores that are not finite")


def _invert(target: Target) -> None:
    settings = InversionSettings(steps=2, batch_size=6, eval_images=2)
    inversion = invert(target, settings, seeded_rng(0, "families"))
    if inversion.outcome == "diverged":
        raise ArithmeticError(inversion.message)


def _attempt(step: Callable[[Target], None], target: Target) -> str:
    try:
        step(target)
    except (InputError, ArithmeticError, RuntimeError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
    return "yes"


def main() -> None:
    """Try all networks, or those that are named, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these, as family:NAME")
    parser.add_argument("--out", type=Path, help="page to write; without it it is printed")
    arguments = parser.parse_args()
    outcomes: dict[str, Outcome] = {}
    for family, sides in SIDES.items():
        for name, side in sides.items():
            arch = f"{family}:{name}"
            if arguments.names and arch not in arguments.names:
                continue
            start = time.perf_counter()
            outcomes[arch] = try_network(arch, side)
            print(arch, *outcomes[arch], f"{time.perf_counter() - start:.0f} s", sep=" | ", file=sys.stderr, flush=True)
            if arguments.out:
                write_text(arguments.out, table(outcomes))
    if not arguments.out:
        print(table(outcomes))


if __name__ == "__main__":
    main()
