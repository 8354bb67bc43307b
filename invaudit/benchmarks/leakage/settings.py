"""Settings of a leakage benchmark: one YAML for each published table."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from invaudit.audit import MetricChoice, ReleasedTarget, TargetAuditSettings
from invaudit.leakage import TargetRecipe
from invaudit.records.names import ATTACK_CONTROL
from invaudit.runtime.describing import Known
from invaudit.runtime.settings import Name, Settings
from invaudit.similarity import METRICS

POOL = "pool-"
"""How names of pools begin."""


class TargetChoice(Settings):
    """One audited target: how it is trained, and on how many members."""

    recipe: TargetRecipe = TargetRecipe()
    """How it is trained; the default memorises its members."""
    members: int = Field(default=40, ge=7, le=1_000_000)
    """Pairs of the pool; one image of each is trained on. With under 7 pairs no test can reach 1 %."""
    negative: bool = False
    """A negative control: trained on as many other images, none of them of the pool."""


class LeakageBenchmark(TargetAuditSettings):
    """A whole benchmark: targets of our own under the ``pairs`` design, and released ones.

    The family of tests of one target is all methods with all metrics; it is declared here, before the run.
    """

    name: Name
    """Name of the benchmark, and of its folder."""
    data: str = "digits"
    """DATA with labels, from which pools, reference images and the members of negative controls are drawn."""
    odd_even: bool = False
    """Two classes: even and odd labels."""
    targets: dict[Name, TargetChoice] = Field(default_factory=dict)
    """Targets that the benchmark trains."""
    released: dict[Name, ReleasedTarget] = Field(default_factory=dict)
    """Targets that were trained elsewhere."""
    attack_control: TargetChoice
    """The target of our own that is known to leak; it has a pool of its own."""
    metrics: Annotated[dict[str, MetricChoice], Known(METRICS)] = Field(min_length=1)
    """Metrics, declared before looking; the first one is the primary metric."""
    images: Literal["none", "full"] = "full"
    """Whether reconstructions and pool images are kept and shown."""
    seeds: tuple[int, ...] = Field(default=(0, 1), min_length=1)
    """Seeds of all draws: pools, coins, trainings, attacks."""

    def choice(self, target: str) -> TargetChoice:
        """Return the choices of a target that the benchmark trains, or of the attack control."""
        return self.attack_control if target == ATTACK_CONTROL else self.targets[target]

    def is_negative(self, target: str) -> bool:
        """Return whether a target is a negative control."""
        return target in self.targets and self.targets[target].negative

    def problems(self) -> Iterator[str]:
        """Yield seeds that are given twice, nothing to audit, and names of targets that are taken."""
        yield from super().problems()
        if len(set(self.seeds)) < len(self.seeds):
            yield f"seeds {list(self.seeds)} hold one twice; give each seed once"
        if not self.targets and not self.released:
            yield "nothing to audit; name at least one target under targets or released"
        names = [*self.targets, *self.released]
        for name in dict.fromkeys(names):
            if names.count(name) > 1 or name == ATTACK_CONTROL or name.startswith(POOL):
                yield f"target name {name!r} is taken; choose another"
