"""Settings of the audit of a model."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from invaudit.audit.settings import MethodChoice, MetricChoice, TargetAuditSettings
from invaudit.leakage import TargetRecipe
from invaudit.models import TrainingSettings
from invaudit.records.names import ATTACK_CONTROL
from invaudit.runtime.describing import Known
from invaudit.runtime.settings import Name, OneSeed
from invaudit.similarity import METRICS

LEAST_REFERENCES = 2
"""Reference models from which on there is a spread to judge by."""
POOL = "pool"
"""Name of the record of the pool."""


class ModelAuditSettings(TargetAuditSettings):
    """What is audited of a model, and how."""

    name: Name = "target"
    """Name of the model in tables."""
    model: str = ""
    """MODEL where the command names none; what is recorded is the name of its file alone."""
    members: str
    """DATA that the model was trained on."""
    controls: str
    """DATA of the same source that it was not trained on, with classes."""
    reference: str | None = None
    """Further DATA of the source, in neither; it helps most attacks, and gives the scoring limit. Unset: every fifth
    control, at most 1,000, where there are 500 controls or more."""
    reference_models: tuple[str, ...] = ()
    """MODEL of each reference model: of the same task, none of them trained on an image of the pool."""
    train_references: int = Field(default=0, ge=0, le=1_000)
    """Reference models that are trained here, like the model, on random halves of ``train_references_on``."""
    train_references_on: str | None = None
    """DATA for them; where it holds all members and controls, half of the references are trained on each."""
    reference_training: TrainingSettings = TrainingSettings()
    """How they are trained; as the model was, as far as that is known."""
    ood: tuple[str, ...] = ()
    """DATA of other kinds, for the question what the model does not know. Sets may be added to an audit later."""
    methods: dict[Name, MethodChoice] = Field(
        default={
            "kkt": MethodChoice(kind="kkt", settings={"images": 100, "restarts": 1}),
            "generator": MethodChoice(kind="generator", settings={"images": 100}),
            "deepinversion": MethodChoice(kind="deepinversion", settings={"images": 100}),
        },
        min_length=1,
    )
    """Reconstruction methods by the name that tables give them; those that do not fit the model are left out."""
    metrics: Annotated[dict[str, MetricChoice], Known(METRICS)] = Field(
        default={"ssim": MetricChoice(), "lpips-alex": MetricChoice(resize=32)}, min_length=1
    )
    """Metrics, declared before looking; the first one is the primary metric."""
    budget: float = Field(default=1_200.0, ge=0, le=10_000_000)
    """Seconds that the audit may take, about; steps of the attacks are cut for it, never to nothing. 0: no limit."""
    scored: int = Field(default=10_000, ge=7, le=1_000_000)
    """Largest number of members, and of controls, that membership is scored on."""
    most: int = Field(default=1_000, ge=7, le=1_000_000)
    """Largest number of members, and of controls, that reconstructions are compared with."""
    claim_rate: float = Field(default=0.1, gt=0, lt=1)
    """False-discovery rate of the claims that single images were trained on."""
    drop_duplicates: bool = False
    """Leave out images that are both member and control."""
    known_leak: TargetRecipe | None = None
    """How the attack control is trained, a network that is known to leak. Unset: one of the model's own family."""
    known_members: int = Field(default=40, ge=7, le=1_000_000)
    """Its members, drawn from the controls of the model, and as many controls."""
    seeds: OneSeed = (0,)

    def problems(self) -> Iterator[str]:
        """Yield a name that records of the audit have."""
        yield from super().problems()
        if self.name in (ATTACK_CONTROL, POOL):
            yield f"target name {self.name!r} is taken; choose another"
        if bool(self.train_references) != (self.train_references_on is not None):
            yield (
                f"train_references is {self.train_references} and train_references_on is {self.train_references_on}, "
                "expected both or neither"
            )
        if 1 <= self.n_references < LEAST_REFERENCES:
            yield f"{self.n_references} reference model, expected at least {LEAST_REFERENCES}; give or train more"

    @property
    def n_references(self) -> int:
        """Number of reference models."""
        return len(self.reference_models) + self.train_references
