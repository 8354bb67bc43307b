"""Settings of a leakage benchmark: one YAML for each published table."""

from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from invaudit.leakage import METHODS, TargetRecipe
from invaudit.runtime.settings import Settings, explain
from invaudit.similarity import METRICS


class TargetChoice(Settings):
    """One audited target: how it is trained, and on how many members."""

    recipe: TargetRecipe = TargetRecipe()
    members: int = Field(default=40, ge=7)
    """Pairs of the pool; one image of each is trained on. With under 7 pairs no test can reach 1 %."""
    negative: bool = False
    """A negative control: trained on as many other images, none of them of the pool."""


class ReleasedTarget(Settings):
    """One audited target that somebody else trained, under the ``observational`` design."""

    model: str
    """MODEL: the file; a relative name is also looked for in the folder of INVAUDIT_WEIGHTS."""
    arch: str
    """``invaudit:NAME``, ``torchvision:NAME``, ``timm:NAME`` or ``package.module:callable``."""
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    members: str
    """DATA that it was trained on."""
    controls: str
    """DATA of the same source that it was not trained on."""
    reference: str
    """DATA of the same source that is in neither."""
    most: int = Field(default=1_000, ge=7)
    """Largest number of members, and of controls, that are drawn for the audit."""


class MethodChoice(Settings):
    """One reconstruction method with its settings; ``kind`` is a name of ``invaudit.leakage.METHODS``."""

    kind: str
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> "MethodChoice":
        if self.kind not in METHODS:
            raise ValueError(f"method {self.kind!r} is unknown, expected one of {', '.join(METHODS)}")
        try:
            METHODS[self.kind].settings(**self.settings)
        except ValidationError as error:
            raise ValueError(explain(METHODS[self.kind].settings, error)) from None
        return self


class MetricChoice(Settings):
    """Settings of one metric."""

    resize: int | None = Field(default=None, ge=1)
    """Side that images are resized to first; part of the metric's label."""


class LeakageBenchmark(Settings):
    """A whole benchmark: targets of our own under the ``pairs`` design, and released ones.

    The family of tests of one target is all methods with all metrics; it is declared here, before the run.
    """

    name: str
    data: str = "digits"
    """DATA with labels, from which pools, reference images and the members of negative controls are drawn."""
    odd_even: bool = False
    """Two classes: even and odd labels."""
    targets: dict[str, TargetChoice] = Field(default_factory=dict)
    """Targets that the benchmark trains."""
    released: dict[str, ReleasedTarget] = Field(default_factory=dict)
    """Targets that were trained elsewhere."""
    attack_control: TargetChoice
    """The target of our own that is known to leak; it has a pool of its own."""
    methods: dict[str, MethodChoice] = Field(min_length=1)
    metrics: dict[str, MetricChoice] = Field(min_length=1)
    """The first one is the primary metric."""
    attribution: bool = True
    limit_blur: float = Field(default=0.8, ge=0)
    """Blur of the simulated copies of the scoring limit, the standard deviation in pixels."""
    limit_noise: float = Field(default=0.1, ge=0)
    """Noise on them, the standard deviation."""
    draws: int = Field(default=9_999, ge=99)
    """Relabellings of a test."""
    alpha: float = Field(default=0.01, gt=0, lt=1)
    """Level of the verdict over the family of one target."""
    images: Literal["none", "full"] = "full"
    """Whether reconstructions and pool images are kept and shown."""
    download: bool = False
    """Fetch the trunk weights of LPIPS where they are not found."""
    seeds: tuple[int, ...] = Field(default=(0, 1), min_length=1)
    device: str = "auto"

    @property
    def family(self) -> int:
        """Number of tests declared for one target."""
        return len(self.methods) * len(self.metrics)

    def choice(self, target: str) -> TargetChoice:
        """Return the choices of a target that the benchmark trains, or of the attack control."""
        return self.attack_control if target == ATTACK_CONTROL else self.targets[target]

    @model_validator(mode="after")
    def _consistent(self) -> "LeakageBenchmark":
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} hold one twice; give each seed once")
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown:
            raise ValueError(f"metric {unknown[0]!r} is unknown, expected one of {', '.join(METRICS)}")
        if not self.targets and not self.released:
            raise ValueError("nothing to audit; name at least one target under targets or released")
        names = [*self.targets, *self.released]
        taken = [one for one in names if names.count(one) > 1 or one == ATTACK_CONTROL or one.startswith(POOL)]
        if taken:
            raise ValueError(f"target name {taken[0]!r} is taken; choose another")
        if taken := [name for name in self.methods if name in STORED]:
            raise ValueError(f"method name {taken[0]!r} is taken; choose another")
        if (self.draws + 1) * self.alpha < self.family:
            raise ValueError(
                f"{self.draws} draws cannot reach {self.alpha} in a family of {self.family} tests; give at least "
                f"{round(self.family / self.alpha) - 1}"
            )
        return self


ATTACK_CONTROL, POOL = "attack-control", "pool-"
"""Name of the attack control's target in files, and how names of pools begin."""
STORED = ("pool", "membership", "images")
"""Files beside those of the methods."""
