"""Settings of an OOD benchmark: one YAML for each published table."""

from typing import Literal

from pydantic import Field, model_validator

from invaudit.inversion import InversionSettings
from invaudit.models import TrainingSettings
from invaudit.ood import BASELINES, TUNABLE, GarbageSettings
from invaudit.ood.recipes import Loss, check_loss
from invaudit.records.names import (
    AGGREGATES,
    ATTACK_PREFIX,
    ATTACKS_ENDING,
    CALIBRATE,
    CONTROL_SAME,
    CONTROL_SPLIT,
    ID_TEST,
    INVERSIONS_ENDING,
    OURS,
    PIXELS,
    UNTRAINED,
)
from invaudit.runtime.settings import Images, Name, Settings

TAKEN = (ID_TEST, CALIBRATE, CONTROL_SAME, CONTROL_SPLIT, *AGGREGATES)
"""Names of rows that are no OOD set."""


class OODSet(Settings):
    """One OOD set: its name in tables, its DATA and its group."""

    name: Name
    data: str
    group: Literal["near", "far", "seen", "shift"]
    without: dict[str, int] = Field(default={})
    """Classes that are left out since they show an ID class: name -> label."""


class Network(Settings):
    """One network of the comparison; everything that is not named here is the same for all."""

    garbage: GarbageSettings | None = None
    inversion: InversionSettings | None = None
    """What makes the inversions of its garbage, if not that of the benchmark; unnamed settings take the defaults."""
    loss: Loss | None = None
    """A loss of pytorch-ood in place of a garbage class: a training-time baseline."""
    real: str | None = None
    """DATA: real outliers for the share of them in ``garbage``, an upper reference with outside data."""
    trained: bool = True
    baselines: bool | tuple[str, ...] = False
    """Whether pytorch-ood's detectors run on it, or the names of those that do."""
    tuned: bool = False
    """Whether they also run tuned on synthetic outliers."""

    @model_validator(mode="after")
    def _fed(self) -> "Network":
        check_loss(self.loss, self.garbage)
        if isinstance(self.baselines, tuple):
            unknown = set(self.baselines) - set(BASELINES)
            if unknown:
                raise ValueError(f"unknown detector {min(unknown)!r}; known: {', '.join(BASELINES)}")
        if self.inversion and not (self.garbage and self.garbage.inversions):
            raise ValueError("inversion is set, but garbage holds no inversions; give them a share, or leave it out")
        if self.tuned and self.baselines is not True and not set(self.baselines or ()) & set(TUNABLE):
            raise ValueError(f"tuned is set, but no baseline that can be tuned: {', '.join(TUNABLE)}; or leave it out")
        share = self.garbage.real if self.garbage else 0
        if (self.real is not None) != bool(share):
            raise ValueError(
                f"real is {self.real!r} and garbage.real is {share:g}; name DATA and give it a share, or neither"
            )
        return self


class OODBenchmark(Settings):
    """A whole benchmark.

    ``id: digits`` is the embedded benchmark: it brings its own splits, OOD sets and transform. Any other ``id`` is DATA
    with a train and a test split.
    """

    name: Name
    id: str = "digits"
    ood: tuple[OODSet, ...] = ()
    side: int = Field(default=28, ge=8, le=4_096)
    channels: Literal[1, 3] = 1
    fit: int = Field(default=1_000, ge=30)
    """Held-out ID images for scaling and joining of scores."""
    calibrate: int = Field(default=1_000, ge=20)
    """Held-out ID images for thresholds."""
    test: int | None = Field(default=None, ge=2)
    """ID test images, drawn at random, the same for all seeds; None: all."""
    arch: str = "cnn"
    training: TrainingSettings
    inversion: InversionSettings
    networks: dict[Name, Network] = Field(min_length=1)
    attacks: dict[Name, InversionSettings] = Field(min_length=1)
    """Fresh generators that measure resistance: of another seed, and where they say so of another kind."""
    attack_images: Images = 500
    """Fresh inversions that each of them makes."""
    map_images: int = Field(default=5_000, ge=1)
    """Training images whose maps are kept, for detectors that fit on maps."""
    slow_images: int | None = Field(default=None, ge=20)
    """Evenly spaced images of each set for detectors of high cost, which take milliseconds for each; None: all."""
    synthetic_images: Images = 40
    """Images of each synthetic family that baselines are tuned on."""
    detectors: tuple[str, ...] = ()
    """Further detectors, ``package.module:Class``; see `invaudit.ood.detector.UserDetector`."""
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    draws: int = Field(default=10_000, ge=1, le=10_000_000)
    """Bootstrap draws: at least 40 for each baseline of a family, or Holm's correction can never call a difference."""
    device: str = "auto"

    def code(self) -> list[str]:
        """Detectors that are no part of pytorch-ood or of ours are imported and run."""
        return [*super().code(), *self.detectors]

    @model_validator(mode="after")
    def _consistent(self) -> "OODBenchmark":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} hold one twice; give each seed once")
        if OURS[0] not in self.networks:
            raise ValueError(f"networks must hold {OURS[0]!r}, the one that the others are compared with")
        for name, network in self.networks.items():
            if name == PIXELS or name.endswith((INVERSIONS_ENDING, ATTACKS_ENDING)):
                raise ValueError(f"a network is called {name!r}, as other rows or files of the run are; rename it")
            if network.trained == (name == UNTRAINED):
                raise ValueError(
                    f"network {name!r} has trained {network.trained}; the one that is not trained is called "
                    f"{UNTRAINED!r}, since tables show it as a control, and all others are trained"
                )
            check_loss(network.loss, network.garbage, self.training)
        names = [ood_set.name for ood_set in self.ood]
        for name in names:
            if names.count(name) > 1 or name in TAKEN or name.startswith(ATTACK_PREFIX):
                raise ValueError(f"an OOD set is called {name!r}, as another set or row of the tables is; rename it")
        if self.detectors and not any(network.baselines for network in self.networks.values()):
            raise ValueError("detectors are named, but no network has baselines; they run beside these")
        if self.id != "digits" and not self.ood:
            raise ValueError("ood is empty; name at least one OOD set")
        if self.id == "digits" and self.ood:
            raise ValueError("ood is set, but digits bring OOD sets of their own; leave it out, or name ID images")
        return self
