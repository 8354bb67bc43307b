"""Settings of an OOD benchmark: one YAML for each published table."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, WrapValidator, field_validator

from invaudit.benchmarks.ood.open_set import UNKNOWN
from invaudit.data.preparation import Interpolation, Preparation
from invaudit.explain.attacks import ATTACKS, chosen_attack
from invaudit.inversion import InversionSettings
from invaudit.models import TrainingSettings
from invaudit.models.settings import ModelSettings, foreign_arch
from invaudit.ood import BASELINES, PARTS, TUNABLE, GarbageSettings
from invaudit.ood.detector import our_detectors
from invaudit.ood.recipes import CYCLE_INVERSION, Loss, loss_problems, smoothing_problems
from invaudit.records.names import (
    AGGREGATES,
    ATTACK_PREFIX,
    ATTACKS_ENDING,
    CALIBRATE,
    CONTROL_SAME,
    CONTROL_SPLIT,
    GARBAGE_DETECTORS,
    HELD_OUT,
    ID_TEST,
    INVERSIONS_ENDING,
    OURS,
    PIXELS,
    UNTRAINED,
    part_name,
)
from invaudit.runtime.describing import Known
from invaudit.runtime.errors import SettingError
from invaudit.runtime.settings import Device, Images, Name, Settings, explain

TAKEN = (ID_TEST, CALIBRATE, HELD_OUT, CONTROL_SAME, CONTROL_SPLIT, UNKNOWN, *AGGREGATES)
"""Names of rows that are no OOD set."""


class OODSet(Settings):
    """One OOD set: its name in tables, its DATA and its group."""

    name: Name
    """Its name in tables."""
    data: str
    """DATA of its images; a set that is not there is a row that is skipped."""
    group: Literal["near", "far", "seen", "shift"]
    """``near``: much like the ID set; ``far``: another kind of picture; ``seen``: of a kind used in training;
    ``shift``: the ID classes from another source, in no mean of the tables."""
    without: dict[str, int] = Field(default={})
    """Classes that are left out since they show an ID class: name -> label."""


class PictureSettings(Settings):
    """How pictures of any size become the images of a benchmark."""

    resize: int | None = None
    """Length that the short side gets first."""
    crop: int | None = None
    """Then the side of the square that is cut from the centre; unset: ``side``."""
    interpolation: Interpolation = "bilinear"
    """How pixels are interpolated."""
    squash: bool = False
    """Scale whole pictures to ``side``, whatever their shape, in place of ``resize`` and ``crop``."""

    def problems(self) -> Iterator[str]:
        """Yield steps that do not go together."""
        try:
            self.preparation()
        except SettingError as error:
            yield str(error)

    def preparation(self) -> Preparation:
        """Return the steps."""
        return Preparation(self.resize, self.crop, self.interpolation, self.squash)


class Network(ModelSettings):
    """One network of the comparison; everything that is not named here is the same for all.

    With ``model`` it is a network that was trained elsewhere, which is taken as it is, or trained on where ``training``
    says how; else it is trained here from scratch, with ``arch`` in place of the benchmark's where that is set.
    """

    model: str | None = None
    """MODEL: a trained network: a file (also in the folder of INVAUDIT_WEIGHTS), a folder, or the name of published
    weights."""
    training: TrainingSettings | None = None
    """How it is trained, if not as the benchmark says; unnamed settings take the defaults. With ``model``: how it is
    trained on from there; unset: not at all."""
    garbage: GarbageSettings | None = None
    """What its garbage class is fed with; unset: it gets none."""
    inversion: InversionSettings | None = None
    """What makes the inversions of its garbage, if not that of the benchmark; unnamed settings take the defaults."""
    loss: Loss | None = None
    """A loss of pytorch-ood in place of a garbage class: a training-time baseline."""
    real: str | None = None
    """DATA: real outliers for the share of them in ``garbage``, an upper reference with outside data."""
    trained: bool = True
    """Whether it is trained; only the control ``random`` is not."""
    baselines: Annotated[bool | tuple[str, ...], Known(BASELINES)] = False
    """Whether pytorch-ood's detectors run on it, or the names of those that do."""
    tuned: bool = False
    """Whether they also run tuned on synthetic outliers."""

    @property
    def is_trained_here(self) -> bool:
        """Whether the benchmark trains it, from scratch or from ``model`` on."""
        return self.trained and (self.model is None or self.training is not None)

    @property
    def baseline_names(self) -> list[str]:
        """The detectors of pytorch-ood that run on it, then the tuned ones."""
        names = list(BASELINES) if self.baselines is True else list(self.baselines or ())
        tuned = [f"{name}@tuned" for name in names if name in TUNABLE]
        return names + tuned if self.tuned else names

    @field_validator("baselines")
    @classmethod
    def _known(cls, baselines: bool | tuple[str, ...]) -> bool | tuple[str, ...]:
        unknown = [name for name in baselines if name not in BASELINES] if isinstance(baselines, tuple) else []
        if unknown:
            raise ValueError(f"unknown detector {', '.join(map(repr, unknown))}; known: {', '.join(BASELINES)}")
        return baselines

    def problems(self) -> Iterator[str]:
        """Yield what does not go together in one network."""
        yield from loss_problems(self.loss, self.garbage)
        if self.inversion and not (self.garbage and self.garbage.inversions):
            yield "inversion is set, but garbage holds no inversions; give them a share, or leave it out"
        if self.tuned and self.baselines is not True and not set(self.baselines or ()) & set(TUNABLE):
            yield f"tuned is set, but no baseline that can be tuned: {', '.join(TUNABLE)}; or leave it out"
        share = self.garbage.real if self.garbage else 0
        if (self.real is not None) != bool(share):
            yield f"real is {self.real!r} and garbage.real is {share:g}; name DATA and give it a share, or neither"
        yield from self._problems_of_model()

    def _problems_of_model(self) -> Iterator[str]:
        if self.model is None:
            for name in ("match", "output", "mean", "std"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    yield f"{name} says how a trained network is read; name it under model, or leave {name} out"
            return
        for name in () if self.training else ("garbage", "inversion", "loss"):
            if getattr(self, name) is not None:
                yield (
                    f"{name} says how a network is trained, and that of model is taken as it is; leave {name} out, or "
                    "say under training how it is trained on"
                )
        if not self.trained:
            yield "model is a trained network; leave trained: false out"


class Compared(Settings):
    """The row that all others are compared with."""

    network: str
    """Its network."""
    detector: str = OURS[1]
    """Its detector, as tables name it."""

    @property
    def row(self) -> tuple[str, str]:
        """Network and detector."""
        return self.network, self.detector


def _ours(fields: dict[str, Any]) -> Compared | None:
    """Return our detector on our network; where this is not there, on the first that is trained."""
    trained = [name for name in fields.get("networks", {}) if name != UNTRAINED]
    if not trained:
        return None
    network, detector = OURS
    return Compared(network=network if network in trained else trained[0], detector=detector)


class ImageAttack(Settings):
    """An attack that changes ID test images a little, until a network gives them another class."""

    kind: Annotated[str, Known(ATTACKS)]
    """The attack."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the attack; those that are not named take its own."""

    def problems(self) -> Iterator[str]:
        """Yield an unknown attack, or settings that it does not have."""
        try:
            chosen_attack(self.kind, self.settings)
        except ValidationError as error:
            yield explain(ATTACKS[self.kind].settings, error)
        except SettingError as error:
            yield str(error)


def _attack(value: Any, _: Any) -> InversionSettings | ImageAttack:
    """Return an attack from its values, by their ``kind``, so that what is wrong is said of one class alone."""
    if isinstance(value, InversionSettings | ImageAttack):
        return value
    kind = ImageAttack if isinstance(value, Mapping) and "kind" in value else InversionSettings
    return kind.model_validate(value)


class OODBenchmark(Settings):
    """A whole benchmark.

    ``id: digits`` is the embedded benchmark: it brings its own splits, OOD sets and transform. Any other ``id`` is
    DATA.
    """

    name: Name
    """Name of the benchmark, and of its ID set in tables."""
    id: str = "digits"
    """``digits``, or DATA with the splits ``train`` and ``test``; with ``id_test``, the DATA of the training images
    alone. Images that networks of ``model`` were trained on make their thresholds too optimistic."""
    id_test: str | None = None
    """DATA of the ID test images, where these are no split of ``id``."""
    held_out: str | None = None
    """DATA of ID images that ``fit`` and ``calibrate`` are drawn from, where networks of ``model`` were trained on all
    images of ``id``; unset: they are taken out of ``id``."""
    known_classes: int | None = Field(default=None, ge=2)
    """So many of the classes of ``id`` are known, drawn anew for each seed; the test images of the others are the near
    OOD set ``unknown-classes``. Unset: all are known."""
    ood: tuple[OODSet, ...] = ()
    """The OOD sets."""
    side: int = Field(default=28, ge=8, le=4_096)
    """Height and width that all images get: for networks of ``model``, what they take."""
    channels: Literal[1, 3] = 1
    """Channels that all images get: 1 (grey) or 3 (RGB)."""
    pictures: PictureSettings | None = None
    """How picture files become images of that side; unset: as they are where all of a set have one size, else short
    side to ``side`` / 0.875, then the centre."""
    fit: int = Field(default=1_000, ge=30)
    """Held-out ID images for scaling and joining of scores."""
    calibrate: int = Field(default=1_000, ge=20)
    """Held-out ID images for thresholds."""
    test: int | None = Field(default=None, ge=2)
    """ID test images, drawn at random, the same for all seeds; unset: all. With ``known_classes`` they are of
    known and unknown classes together."""
    arch: str = "cnn"
    """Architecture of the networks that are trained, as in the MODEL grammar."""
    training: TrainingSettings = TrainingSettings()
    """How they are trained."""
    inversion: InversionSettings = CYCLE_INVERSION
    """Inversion of one cycle of garbage."""
    networks: dict[Name, Network] = Field(min_length=1)
    """The networks by the name that tables give them. ``full`` is ours; ``random`` is the control without training."""
    compare_with: Compared | None = Field(default_factory=_ours)
    """Row that all differences are to; unset: ``joint`` on ``full``, or on the first network that is trained; ``null``:
    none."""
    attacks: dict[Name, Annotated[InversionSettings | ImageAttack, WrapValidator(_attack)]] = Field(
        default_factory=dict
    )
    """What measures resistance. Fresh generators: of another seed, and where they say so of another kind. Or, by their
    ``kind``, attacks that change ID test images which the network gives their class."""
    attack_images: Images = 500
    """Images that each of them makes, as far as there are ID test images to change."""
    map_images: int = Field(default=5_000, ge=1)
    """Training images whose maps are kept, for detectors that fit on maps."""
    slow_images: int | None = Field(default=None, ge=20)
    """Evenly spaced images of each set for detectors of high cost, which take milliseconds for each; unset: all."""
    synthetic_images: Images = 40
    """Images of each synthetic family that baselines are tuned on."""
    detectors: tuple[str, ...] = ()
    """Further detectors beside the baselines, ``package.module:Class``, code that is run."""
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    """Seeds of all draws; a network of ``model`` is the same for each, its splits of the images are not."""
    draws: int = Field(default=10_000, ge=1, le=10_000_000)
    """Bootstrap draws: at least 40 for each baseline of a family, or Holm's correction can never call a difference."""
    device: Device = "auto"

    def code(self) -> list[str]:
        """Architectures and detectors that are no part of a library that we know are imported and run."""
        return [*super().code(), *foreign_arch(self.arch), *self.detectors]

    def arch_of(self, network: str) -> str:
        """Return the architecture of a network that is trained."""
        return self.networks[network].arch or self.arch

    def detectors_on(self, network: str) -> list[str]:
        """Return the detectors that run on a network, where it can serve them."""
        choices = self.networks[network]
        names = list(our_detectors())
        if choices.baselines:
            names += [*choices.baseline_names, *self.detectors]
        return names

    def problems(self) -> Iterator[str]:
        """Yield what does not go together in the benchmark."""
        if len(set(self.seeds)) < len(self.seeds):
            yield f"seeds {list(self.seeds)} hold one twice; give each seed once"
        for name, network in self.networks.items():
            yield from self._problems_of_network(name, network)
        trained_elsewhere = [name for name, network in self.networks.items() if network.model is not None]
        if self.held_out is not None and self.known_classes is not None:
            yield "held_out brings all classes, and known_classes takes some away; leave one out"
        if trained_elsewhere and self.known_classes is not None:
            yield f"network {trained_elsewhere[0]!r} was trained elsewhere, on all classes; leave known_classes out"
        if self.id == "digits" and len(self.seeds) > 1 and trained_elsewhere:
            yield (
                f"network {trained_elsewhere[0]!r} is the same for all seeds, and the classes of digits rotate with "
                "the seed; give one seed, or name ID images under id"
            )
        yield from self._problems_of_reference()
        yield from self._problems_of_sets()
        if self.detectors and not any(network.baselines for network in self.networks.values()):
            yield "detectors are named, but no network has baselines; they run beside these"

    def _problems_of_network(self, name: str, network: Network) -> Iterator[str]:
        if name == PIXELS or name.endswith((INVERSIONS_ENDING, ATTACKS_ENDING)):
            yield f"a network is called {name!r}, as other rows or files of the run are; rename it"
        if network.trained == (name == UNTRAINED):
            yield (
                f"network {name!r} has trained {network.trained}; the one that is not trained is called "
                f"{UNTRAINED!r}, since tables show it as a control, and all others are trained"
            )
        yield from smoothing_problems(network.loss, network.training or self.training)

    def _problems_of_reference(self) -> Iterator[str]:
        if self.compare_with is None:
            return
        network, detector = self.compare_with.network, self.compare_with.detector
        if network not in self.networks:
            yield f"compare_with names the network {network!r}, expected one of {', '.join(self.networks)}"
        elif detector not in self._rows_on(network):
            known = ", ".join(self._rows_on(network))
            yield f"compare_with names the detector {detector!r}, expected one that runs on {network!r}: {known}"

    def _rows_on(self, network: str) -> list[str]:
        """Return the detectors, and the parts of ours, that a network can serve."""
        choices = self.networks[network]
        has_garbage = choices.model is not None or (choices.garbage is not None and choices.loss is None)
        rows = []
        for name in self.detectors_on(network):
            if has_garbage or name not in GARBAGE_DETECTORS:
                rows.append(name)
        for name, part in PARTS.items():
            if has_garbage or not part.needs_garbage:
                rows.append(part_name(OURS[1], name))
        return rows

    def _problems_of_sets(self) -> Iterator[str]:
        names = [ood_set.name for ood_set in self.ood]
        for name in dict.fromkeys(names):
            if names.count(name) > 1 or name in TAKEN or name.startswith(ATTACK_PREFIX):
                yield f"an OOD set is called {name!r}, as another set or row of the tables is; rename it"
        if self.id != "digits":
            if not self.ood and self.known_classes is None:
                yield "ood is empty; name at least one OOD set, or set known_classes"
            return
        for key in ("ood", "id_test", "held_out", "pictures", "known_classes"):
            if getattr(self, key):
                yield f"{key} is set, but digits bring sets of their own; leave it out, or name ID images under id"
