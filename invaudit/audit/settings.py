"""Settings that audits share: what is measured, by what rule, and what is kept."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from invaudit.leakage import METHODS
from invaudit.models.settings import ModelSettings
from invaudit.records.audit_gallery import GALLERY
from invaudit.runtime.describing import Known
from invaudit.runtime.settings import Device, Name, Settings, explain
from invaudit.similarity import METRICS
from invaudit.stats import ALPHA

PICTURES = ("images", GALLERY)
"""Files of pictures alone, which only an audit with ``images: full`` has."""
STORED = ("pool", "membership", "readiness", "scored", "signals", "nearest", "references", *PICTURES)
"""Files of arrays beside those of the methods, which take the methods' names."""


class MetricChoice(Settings):
    """Settings of one metric. The side alone, or nothing, may stand for them: ``lpips-alex: 32``, ``ssim: null``."""

    resize: int | None = Field(default=None, ge=1, le=4_096)
    """Side that images are resized to first; part of the metric's label."""

    @model_validator(mode="before")
    @classmethod
    def _from_side(cls, value: Any) -> Any:
        is_side = value is None or (isinstance(value, int) and not isinstance(value, bool))
        return {"resize": value} if is_side else value


class MethodChoice(Settings):
    """One reconstruction method with its settings."""

    kind: Annotated[str, Known(METHODS)]
    """The method."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the method; those that are not named take its defaults."""

    def problems(self) -> Iterator[str]:
        """Yield an unknown method, or settings that it does not have."""
        yield from method_problems(self.kind, self.settings)


def method_problems(kind: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield an unknown method, or what is wrong with settings for it."""
    if kind not in METHODS:
        yield f"method {kind!r} is unknown, expected one of {', '.join(METHODS)}"
        return
    try:
        METHODS[kind].settings(**settings)
    except ValidationError as error:
        yield explain(METHODS[kind].settings, error)


class AuditSettings(Settings):
    """What every audit of a leak needs to know, whoever made the reconstructions."""

    metrics: Annotated[dict[str, MetricChoice], Known(METRICS)] = Field(
        default={"ssim": MetricChoice(), "lpips-alex": MetricChoice()}, min_length=1
    )
    """Metrics, declared before looking; the first one is the primary metric."""
    limit_blur: float = Field(default=0.8, ge=0, le=100)
    """Blur of the simulated copies of the scoring limit, the standard deviation in pixels."""
    limit_noise: float = Field(default=0.1, ge=0, le=100)
    """Noise on them, the standard deviation."""
    draws: int = Field(default=9_999, ge=99, le=10_000_000)
    """Relabellings of a test."""
    alpha: float = Field(default=ALPHA, gt=0, lt=1)
    """Level of the verdict over the family of one target."""
    images: Literal["none", "full"] = "none"
    """Whether reconstructions and pool images are kept and shown."""
    download: bool = False
    """Fetch published weights, such as the trunk weights of LPIPS, where they are not found."""
    device: Device = "auto"

    @property
    def family(self) -> int:
        """Number of tests declared for one target."""
        return len(self.metrics)

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, metrics: dict[str, MetricChoice]) -> dict[str, MetricChoice]:
        unknown = [name for name in metrics if name not in METRICS]
        if unknown:
            raise ValueError(f"metric {unknown[0]!r} is unknown, expected one of {', '.join(METRICS)}")
        return metrics


class TargetAuditSettings(AuditSettings):
    """How a target is audited: the attacks on it, and how their reconstructions are judged.

    The family of tests of one target is all methods with all metrics; it is declared here, before the run.
    """

    methods: dict[Name, MethodChoice] = Field(min_length=1)
    """Reconstruction methods by the name that tables give them."""
    attribution: bool = True
    """Whether to score membership by attribution too."""

    @property
    def family(self) -> int:
        """Number of tests declared for one target."""
        return len(self.methods) * len(self.metrics)

    def problems(self) -> Iterator[str]:
        """Yield names of methods that are taken, and too few draws for the level."""
        for name in self.methods:
            if name in STORED:
                yield f"method name {name!r} is taken; choose another"
        if (self.draws + 1) * self.alpha < self.family:
            least = round(self.family / self.alpha) - 1
            family = f"a family of {self.family} tests"
            yield f"{self.draws} draws cannot reach {self.alpha} in {family}; give at least {least}"


class ReleasedTarget(ModelSettings):
    """One audited target that somebody else trained, under the ``observational`` design."""

    model: str
    """MODEL: the file; a relative name is also looked for in the folder of INVAUDIT_WEIGHTS."""
    members: str
    """DATA that it was trained on."""
    controls: str
    """DATA of the same source that it was not trained on."""
    reference: str
    """DATA of the same source that is in neither."""
    most: int = Field(default=1_000, ge=7, le=1_000_000)
    """Largest number of members, and of controls, that are drawn for the audit."""
