"""Configs to start a benchmark of one's own from: they run as they are, and show what else can stand in them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from invaudit.benchmarks.leakage.settings import LeakageBenchmark
from invaudit.benchmarks.ood.settings import OODBenchmark
from invaudit.runtime.commented import Example, commented_config
from invaudit.runtime.files import write_text
from invaudit.runtime.settings import Settings
from invaudit.runtime.text import printable


@dataclass(frozen=True)
class Start:
    """What a benchmark is started with.

    Attributes:
        settings: What runs as it is: the embedded digits, few and small networks.
        examples: Key -> what users may want there.
    """

    settings: Settings
    examples: Mapping[str, Sequence[Example]]


MINE = {
    "model": "mine.pth",
    "arch": "torchvision:resnet18",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
"""A network of the user's, as both kinds of benchmark name it."""
OOD = Start(
    OODBenchmark.model_validate(
        {
            "name": "digits",
            "arch": "small-cnn",
            "training": {"epochs": 8, "batch_size": 64, "shift": 1, "precision": "float32"},
            "networks": {
                "plain": {"baselines": ["MaxSoftmax", "EnergyBased", "Mahalanobis", "KNN"]},
                "random": {"trained": False},
            },
            "seeds": [0],
        }
    ),
    {
        "id": [Example("your photos in class folders; then name your OOD sets below, too.", "photos/train")],
        "id_test": [Example("other photos of the same classes.", "photos/val")],
        "ood": [
            Example(
                "a folder of photos, and a file of arrays.",
                [
                    {"name": "textures", "data": "textures/", "group": "far"},
                    {"name": "other-birds", "data": "other-birds.npz", "group": "near"},
                ],
            )
        ],
        "side": [Example("photos of 64 x 64 pixels.", 64)],
        "channels": [Example("photos in colour.", 3)],
        "networks": [
            Example(
                "a trained network of yours, with what it subtracts from images in [0, 1] and divides by.",
                {"mine": {**MINE, "baselines": True}},
            ),
            Example(
                "the same network, trained on with a garbage class, to see what that brings.",
                {"mine-on": {**MINE, "training": {"epochs": 3, "learning_rate": 5e-4}, "garbage": {"noise": 1.0}}},
            ),
            Example(
                "an architecture of yours, which is trained here. It is code, and runs only if the command names it, "
                "too: --allow-code mypackage.networks:make",
                {"own": {"arch": "mypackage.networks:make", "baselines": True}},
            ),
            Example(
                "our recipe: a garbage class that is fed with noise, derived outliers and inversions.",
                {
                    "full": {
                        "garbage": {
                            "weight": 0.5,
                            "noise": 0.4,
                            "derived": 0.35,
                            "inversions": 0.25,
                            "per_cycle": 350,
                            "memory": 1050,
                        },
                        "baselines": ["MaxSoftmax", "EnergyBased", "Mahalanobis", "KNN"],
                    }
                },
            ),
        ],
        "compare_with": [Example("a baseline.", {"network": "plain", "detector": "KNN"})],
        "attacks": [
            Example(
                "a generator of another kind than that of training, asked for sure images.",
                {"other-kind-sure": {"generator": "transposed-small", "hot": True, "steps": 60, "batch_size": 64}},
            )
        ],
    },
)
LEAKAGE = Start(
    LeakageBenchmark.model_validate(
        {
            "name": "digits",
            "targets": {"mlp": {"recipe": {"steps": 2000}}},
            "attack_control": {"recipe": {"steps": 2000}},
            "methods": {"kkt": {"kind": "kkt", "settings": {"restarts": 1, "steps": 500}}},
            "metrics": {"cosine": {}},
            "limit_blur": 0.4,
            "limit_noise": 0.05,
            "seeds": [0],
        }
    ),
    {
        "metrics": [
            Example(
                "a metric of a network, which takes no side under 31; its weights have to be there, or download: true.",
                {"lpips-alex": {"resize": 32}},
            )
        ],
        "methods": [Example("all defaults of another method.", {"generator": {"kind": "generator"}})],
        "data": [Example("images of your own, with classes.", "mine.npz")],
        "targets": [
            Example(
                "a negative control: whatever is found in it is a false alarm.",
                {"negative": {"recipe": {"steps": 2000}, "negative": True}},
            )
        ],
        "released": [
            Example(
                "a network that was trained elsewhere, whose training images you have.",
                {
                    "mine": {
                        **MINE,
                        "members": "mine.npz:train",
                        "controls": "mine.npz:test@0:1000",
                        "reference": "mine.npz:test@1000:2000",
                    }
                },
            )
        ],
    },
)
HOW_TO_READ = (
    "It runs as it is, in under a minute: scikit-learn's digits, small networks, nothing of yours.",
    "",
    "Lines with ## explain. What stands behind one # is not set: a default, or an example. To set it,",
    "take away the # and the space after it, also in the lines that belong to it.",
    "All keys, also those of groups that are not shown here: docs/configs.md",
)
STARTS: Mapping[str, Start] = MappingProxyType({"ood": OOD, "leakage": LEAKAGE})
"""Name of a benchmark, as ``invaudit benchmark`` has it -> what it is started with."""


def write_start(kind: str, file: Path) -> str:
    """Write a commented config, and return the command that runs it.

    Args:
        kind: A name of `STARTS`.
        file: The file; one that is there is replaced.

    Raises:
        RunFolderError: The file cannot be written.
    """
    start = STARTS[kind]
    command = shlex.join(["invaudit", "benchmark", kind, "--config", str(file)])
    heading = [f"Run it: {printable(command)}", *HOW_TO_READ]
    write_text(file, commented_config(start.settings, heading, start.examples))
    return command
