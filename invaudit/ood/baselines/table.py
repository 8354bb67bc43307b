"""The rows: every detector class of pytorch-ood, how it is fed, and which settings are tried when it is tuned."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product

from invaudit.ood.baselines.base import Baseline, Hyperparameters, ScoreFunction, library
from invaudit.ood.baselines.cached import (
    dice,
    feed_default,
    gaussian,
    gram,
    knn,
    last_layer,
    multi_mahalanobis,
    openmax,
    rankfeat,
    shaped,
)
from invaudit.ood.baselines.fast import last_layer_gradient, last_layer_uncertainty
from invaudit.ood.baselines.image_detectors import dropout, gradient, mahalanobis_odin, nac, odin
from invaudit.ood.fit_inputs import FitInputs
from invaudit.runtime.errors import NotApplicableError

Grid = Callable[[FitInputs], list[Hyperparameters]]


def unlisted() -> set[str]:
    """Return the detector classes of the installed pytorch-ood that no row stands for."""
    detectors = library()
    unlisted_classes = set()
    for name in detectors.__all__:
        if isinstance(getattr(detectors, name), type):
            unlisted_classes.add(name)
    return unlisted_classes - {row.class_name for row in BASELINES.values()}


def _lacking(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters, *, needs: str) -> ScoreFunction:  # noqa: ARG001
    raise NotApplicableError(f"needs {needs}")


def _over(**values: Iterable[float]) -> Grid:
    """Return the grid of every combination of these values, the same for all networks."""
    grid = []
    for combination in product(*values.values()):
        grid.append(dict(zip(values, combination, strict=True)))
    return lambda _: list(grid)


def _neighbours(inputs: FitInputs) -> list[Hyperparameters]:
    most = len(inputs.train) // 2
    return [{"k": k} for k in (1, 5, 10, 50, 100, 200, 500, 1000) if k <= most]


def _at_most(k: int) -> Callable[[FitInputs], Hyperparameters]:
    return lambda inputs: {"k": min(k, len(inputs.train))}


def _principal(inputs: FitInputs) -> Hyperparameters:
    # The choice of ViM's authors for wide layers; of narrow ones they say nothing.
    width = inputs.train.features.shape[1]
    if width >= 2048:
        return {"d": 1000}
    if width >= 768:
        return {"d": 512}
    return {"d": width // 2}


def _dimensions(inputs: FitInputs) -> list[Hyperparameters]:
    # At the full width nothing is left over to score, and the library gives NaN.
    width = inputs.train.features.shape[1]
    tried = {16, 32, 64, 128, 256, 512, width // 4, width // 2, 3 * width // 4}
    return [{"d": d} for d in sorted(tried) if 0 < d < width]


def _clips(_: FitInputs) -> list[Hyperparameters]:
    return [
        {"lower_percentile": 0.15, "upper_percentile": 0.85},
        {"lower_percentile": 0.1, "upper_percentile": 0.9},
        {"lower_percentile": 0.05, "upper_percentile": 0.95},
        {"lower_percentile": 0.01, "upper_percentile": 0.99},
    ]


_TEMPERATURES = (0.5, 1, 2, 5, 10, 100, 1000)
_PERCENTILES = (0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

_ROWS = (
    Baseline("MaxSoftmax", "logits", feed_default, grid=_over(t=_TEMPERATURES)),
    Baseline("MaxLogit", "logits", feed_default),
    Baseline("EnergyBased", "logits", feed_default, grid=_over(t=_TEMPERATURES)),
    Baseline("Entropy", "logits", feed_default),
    Baseline("GEN", "logits", feed_default, grid=_over(gamma=(0.01, 0.1, 0.5, 1, 2, 5, 10))),
    Baseline("KLMatching", "logits", feed_default, fits_on="fit"),
    Baseline("TemperatureScaling", "logits", feed_default, fits_on="fit"),
    Baseline("OpenMax", "logits", openmax, grid=_over(tailsize=(10, 25, 50), alpha=(1, 3, 10))),
    Baseline(
        "WeightedEBO",
        "logits",
        partial(_lacking, needs="class weights from VOS training; with ones it is EnergyBased"),
    ),
    # DICE has no default; 0.9 is that of OpenOOD.
    Baseline("DICE", "features", dice, defaults=lambda _: {"p": 0.9}, grid=_over(p=(0.1, 0.3, 0.5, 0.7, 0.9))),
    Baseline("fDBD", "features", feed_default),
    Baseline("GMM", "features", feed_default, grid=_over(reg=(1e-6, 1e-4, 1e-3, 1e-2, 0.1, 1))),
    Baseline("KNN", "features", knn, defaults=_at_most(50), grid=_neighbours),
    Baseline("KNN@k=5", "features", knn, defaults=_at_most(5)),
    Baseline("LTS", "features", feed_default, grid=_over(p=(0.01, 0.05, 0.1, 0.2, 0.35, 0.5))),
    Baseline("Mahalanobis", "features", gaussian),
    Baseline("RMD", "features", gaussian),
    Baseline("MCM", "features", partial(_lacking, needs="text embeddings of the classes")),
    Baseline("NCI", "features", feed_default, grid=_over(alpha=(0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1))),
    Baseline("NNGuide", "features", feed_default, defaults=_at_most(10), grid=_neighbours),
    Baseline("PNML", "features", feed_default),
    Baseline("SHE", "features", feed_default),
    Baseline("ViM", "features", feed_default, defaults=_principal, grid=_dimensions),
    Baseline(
        "GradNorm@last-layer",
        "logits+features",
        partial(last_layer, score=last_layer_gradient),
        grid=_over(temperature=_TEMPERATURES),
    ),
    Baseline("GradUncertainty@last-layer", "logits+features", partial(last_layer, score=last_layer_uncertainty)),
    Baseline("ASH", "maps", shaped, grid=_over(percentile=_PERCENTILES)),
    Baseline("SCALE", "maps", shaped, grid=_over(percentile=_PERCENTILES)),
    Baseline("ReAct", "maps", feed_default, grid=_over(percentile=(0.85, 0.9, 0.95, 0.99))),
    Baseline("VRA", "maps", feed_default, grid=_clips),
    Baseline("RankFeat", "maps", rankfeat),
    Baseline("Gram", "logits+maps", gram),
    Baseline("MultiMahalanobis", "moments", multi_mahalanobis),
    Baseline("GradNorm", "images", gradient, cost="high"),
    Baseline("GradUncertainty", "images", gradient, cost="high"),
    Baseline("MCD", "images", dropout),
    Baseline("MahalanobisODIN", "images", mahalanobis_odin),
    Baseline("NACUE", "images", nac),
    Baseline("ODIN", "images", odin),
)
BASELINES: dict[str, Baseline] = {row.name: row for row in _ROWS}
"""Row name -> how a detector class of pytorch-ood is fed; a new class gets a line here."""

TUNABLE: tuple[str, ...] = tuple(name for name, row in BASELINES.items() if row.grid)
"""Rows with settings that can be tried on stored activations."""
