"""Settings of a benchmark of explanations: one YAML for each published table."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, ValidationError

from invaudit.explain.second import SecondSettings
from invaudit.explain.student import StudentSettings
from invaudit.inversion import InversionSettings
from invaudit.inversion.shipped import COLOUR, GREY, SETTINGS, Engine, SearchSettings
from invaudit.models import TrainingSettings
from invaudit.models.settings import ModelSettings, foreign_arch
from invaudit.runtime.settings import Device, Name, Settings, explain, load_config

SECOND = "second"
"""How the second network is called among the others."""
CONFIGS = {"colour": COLOUR, "grey": GREY}


class TrainedTarget(Settings):
    """A network that the benchmark trains, anew for each seed."""

    arch: str
    """Its architecture, as in the MODEL grammar."""
    training: TrainingSettings = TrainingSettings()
    """How it is trained."""
    seeds: tuple[int, ...] = ()
    """Those of the seeds that there is one for; unset: all."""

    def code(self) -> list[str]:
        """An architecture that is no part of a library that we know is imported and run."""
        return foreign_arch(self.arch)


class GivenNetwork(ModelSettings):
    """A network that was trained elsewhere; it is the same for all seeds."""

    model: str
    """MODEL: a file (also in the folder of INVAUDIT_WEIGHTS), a folder, or the name of published weights."""


class Variant(Settings):
    """One way to invert: what the shipped config of an engine says, with changes."""

    engine: Engine = "generator"
    """What is searched for: the weights of one generator, or the pixels of each image."""
    start: Literal["colour", "grey", "defaults"] = "colour"
    """What the changes are made to: the config of the engine that ``invaudit invert`` takes for images in colour or in
    grey, or the defaults of its settings."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Changes, by the keys of InversionSettings or PixelInversionSettings; ``weights`` are replaced as a whole."""
    without: tuple[str, ...] = ()
    """Objectives whose weight is taken away."""
    seeds: tuple[int, ...] = ()
    """Those of the seeds that it is run with; unset: all."""

    def problems(self) -> Iterator[str]:
        """Yield changes that the settings of the engine do not take, and objectives that have no weight anyway."""
        kind = SETTINGS[self.engine]
        weights = self._changed()["weights"]
        for name in self.without:
            if isinstance(weights, dict) and not weights.get(name):
                yield f"without names {name!r}, which has no weight; weights are {', '.join(map(str, weights))}"
        try:
            self.search()
        except ValidationError as error:
            yield explain(kind, error)

    def search(self) -> SearchSettings:
        """Return the settings of the search, resolved."""
        kind = SETTINGS[self.engine]
        values = self._changed()
        if isinstance(values["weights"], dict):
            values["weights"] = {name: weight for name, weight in values["weights"].items() if name not in self.without}
        return kind.model_validate(values)

    @property
    def mode(self) -> str | None:
        """The condition mode of a generator; pixels have none."""
        search = self.search()
        return search.mode if isinstance(search, InversionSettings) else None

    def _changed(self) -> dict[str, Any]:
        kind = SETTINGS[self.engine]
        before = kind() if self.start == "defaults" else load_config(kind, CONFIGS[self.start][self.engine])
        return before.model_dump() | self.settings


class ExplainBenchmark(Settings):
    """A whole benchmark: targets x variants x seeds."""

    name: Name
    """Name of the benchmark, and of its folder."""
    data: str = "digits@0:1300"
    """DATA with labels, on which targets and the second network are trained."""
    held_out: str = "digits@1300:"
    """DATA with labels, on which no network was trained: what inversions are measured against."""
    targets: dict[Name, TrainedTarget] = Field(default_factory=dict)
    """Networks that the benchmark trains and inverts."""
    released: dict[Name, GivenNetwork] = Field(default_factory=dict)
    """Networks that were trained elsewhere."""
    second: SecondSettings = SecondSettings()
    """How the second network is trained, which judges the inversions of all targets: once, with the first seed."""
    second_model: GivenNetwork | None = None
    """A second network that was trained elsewhere, in place of one of ours."""
    variants: dict[Name, Variant] = Field(min_length=1)
    """Ways to invert."""
    only: tuple[Name, ...] = ()
    """Variants that are run and stand in the tables; unset: all. A run may be resumed with others."""
    students: tuple[Name, ...] = ()
    """Variants whose inversions a student is trained on."""
    borders: tuple[Name, ...] = ()
    """Variants for which borders between classes are searched for, by the engine of the variant."""
    student: StudentSettings = StudentSettings()
    """How a student is trained."""
    images: int = Field(default=50, ge=5, le=10_000)
    """Inversions of each class that are measured; of pixels as many as there are."""
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    """Seeds of all draws: trainings, searches, students."""
    device: Device = "auto"

    @property
    def selected(self) -> list[str]:
        """The variants that are run, in the order of the config."""
        return [name for name in self.variants if not self.only or name in self.only]

    def seeds_of(self, target: str) -> list[int]:
        """Return the seeds for which there is a target."""
        wanted = self.targets[target].seeds if target in self.targets else ()
        return [seed for seed in self.seeds if not wanted or seed in wanted]

    def problems(self) -> Iterator[str]:
        """Yield seeds that are given twice, nothing to invert, taken names, and variants that are not there."""
        if len(set(self.seeds)) < len(self.seeds):
            yield f"seeds {list(self.seeds)} hold one twice; give each seed once"
        if not self.targets and not self.released:
            yield "nothing to invert; name at least one network under targets or released"
        for name in (*self.targets, *self.released):
            if name == SECOND or (name in self.targets and name in self.released):
                yield f"target name {name!r} is taken; choose another"
        for name, some in (*self.targets.items(), *self.variants.items()):
            if not set(some.seeds) <= set(self.seeds):
                yield f"{name} has seeds {list(some.seeds)}, expected some of {list(self.seeds)}; or leave them out"
        for key in ("only", "students", "borders"):
            for name in getattr(self, key):
                if name not in self.variants:
                    yield f"{key} names the variant {name!r}, expected one of {', '.join(self.variants)}"
