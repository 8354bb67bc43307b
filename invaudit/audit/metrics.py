"""The metrics of an audit: those that can be computed, and why the others cannot."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from invaudit.audit.attempts import attempt
from invaudit.audit.settings import MetricChoice
from invaudit.records import Ended, MetricRow
from invaudit.runtime.errors import MissingDataError
from invaudit.similarity import Metric, make_metric


@dataclass(frozen=True, eq=False)
class MetricSet:
    """The declared metrics of an audit.

    Attributes:
        names: All of them, in the order of their declaration.
        ready: Those that can be computed, by name.
        unavailable: How the attempt to have the others ended, by name.
    """

    names: tuple[str, ...]
    ready: dict[str, Metric]
    unavailable: dict[str, Ended]

    def rows(self) -> dict[str, MetricRow]:
        """Return what each metric that can be computed is, by name."""
        rows = {}
        for name, metric in self.ready.items():
            rows[name] = MetricRow(metric=name, better=metric.better, label=metric.label)
        return rows


def make_metrics(
    choices: Mapping[str, MetricChoice], reference: Tensor | None, device: torch.device, *, download: bool
) -> MetricSet:
    """Return the metrics of an audit.

    Args:
        choices: Name of a metric -> its settings.
        reference: (M, C, H, W) in [0, 1], images like the members, for the metrics that need some.
        device: Where to compute.
        download: Whether weights may be fetched.
    """
    ready, unavailable = {}, {}
    for name, choice in choices.items():
        make = partial(make_metric, name, resize=choice.resize, reference=reference, device=device, download=download)
        attempted = attempt(name, make)
        if attempted.value is None:
            unavailable[name] = attempted.record(Ended)
        else:
            ready[name] = attempted.value
    return MetricSet(tuple(choices), ready, unavailable)


def planned_metrics(
    choices: Mapping[str, MetricChoice],
    unavailable: Mapping[str, Ended],
    reference: Tensor | None,
    device: torch.device,
    *,
    download: bool,
) -> MetricSet:
    """Return the metrics that an audit was planned with, whatever has come since; the other arguments as above.

    Args:
        choices: All declared ones.
        unavailable: Those that could not be computed when it was planned.

    Raises:
        MissingDataError: One that could be computed then cannot be now.
    """
    ready = {name: choice for name, choice in choices.items() if name not in unavailable}
    metrics = make_metrics(ready, reference, device, download=download)
    for name, ended in metrics.unavailable.items():
        raise MissingDataError(
            f"{name} could be computed when the audit was planned, and now it cannot: {ended.reason}; bring back what "
            "is missing and give the same command, or begin anew with another --out"
        )
    return MetricSet(tuple(choices), metrics.ready, dict(unavailable))
