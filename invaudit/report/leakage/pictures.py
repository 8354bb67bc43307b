"""The figures of a leakage run as they stand on its page, each with its caption."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from invaudit.records.leakage_run import LeakageRun
from invaudit.report.drawing import png
from invaudit.report.leakage import figures
from invaudit.report.leakage.nearest import chosen_rows, nearest_of
from invaudit.report.sections import PageFigure
from invaudit.runtime.seeds import child_seed

Place = tuple[int, str, str]
"""A seed, a target and a method."""


def quantiles_picture(run: LeakageRun) -> PageFigure | None:
    """Return the similarities to members over those to controls; None where the folder holds none."""
    metric = run.primary_metric
    if metric is None:
        return None
    panels: dict[str, dict[str, figures.Similarities]] = {}
    n_unlisted = 0
    for seed, target, method in _places(run):
        arrays = run.arrays(seed, target, method, f"{metric}-")
        member = run.arrays(seed, target, "pool", "member").get("member")
        if member is None or f"{metric}-index" not in arrays:
            continue
        index, value = arrays[f"{metric}-index"], arrays[f"{metric}-value"]
        to_member, to_control = nearest_of(index, value, member), nearest_of(index, value, ~member)
        by_method = panels.setdefault(run.label(target), {})
        by_method[method] = figures.Similarities(to_member.value, to_control.value)
        n_unlisted += int((to_member.position < 0).sum() + (to_control.position < 0).sum())
    if not panels:
        return None
    caption = (
        f"Quantiles of {metric} over the reconstructions (seed {run.seeds[0]}): to the nearest member, upwards, "
        "against the nearest control, to the right; further is more similar. Points above the dashed line: "
        "reconstructions are nearer to members. Where members outnumber controls, some of that is expected: the "
        "tests relabel the images with both numbers kept, and so take it into account."
    )
    if n_unlisted:
        caption += f" {n_unlisted} values are upper bounds: the list of nearest images ends before one of that kind."
    image = png(figures.quantiles(panels, metric, better=run.better(metric)))
    alt = "Quantiles of the similarity to members over those of the similarity to controls, per target"
    return PageFigure("quantiles", image, caption, alt)


def membership_picture(run: LeakageRun) -> PageFigure | None:
    """Return the AUROC of each membership score; None where none has any."""
    measured = []
    for row in run.membership:
        if row.auroc is not None:
            measured.append(row.model_copy(update={"target": run.label(row.target)}))
    if not measured:
        return None
    caption = (
        "How often a member scores higher than a control, per score and seed. 50 (dashed) is guessing. "
        "METHOD:METRIC scores an image by its most similar reconstruction of the same class."
    )
    alt = "AUROC of each membership score with its interval, per target"
    return PageFigure("membership", png(figures.membership(measured)), caption, alt)


def image_pictures(run: LeakageRun, beside: str = "") -> Iterator[PageFigure]:
    """Yield reconstructions beside their nearest images, by target and method, if the run allows images.

    Args:
        run: The run.
        beside: A sentence that stands in every caption, empty for none.
    """
    for number, (seed, target, method) in enumerate(_places(run)):
        rng = np.random.default_rng(child_seed(seed, "report/rows", number))
        chosen = _chosen(run, (seed, target, method), rng, n_margin=6, n_random=4)
        if chosen is not None:
            yield _triplets_picture(run, (seed, target, method), chosen, f"images-{number:02}", beside)


def sample_picture(run: LeakageRun, target: str, method: str, name: str, beside: str) -> PageFigure | None:
    """Return the three reconstructions that stand out most, chosen as in `image_pictures`; None where there are none.

    Args:
        run: The run.
        target: Name of the target.
        method: Name of the method.
        name: Name of the figure.
        beside: A sentence that stands in the caption.
    """
    for place in _places(run):
        if place[1:] == (target, method):
            chosen = _chosen(run, place, np.random.default_rng(0), n_margin=3, n_random=0)
            return None if chosen is None else _triplets_picture(run, place, chosen, name, beside)
    return None


def _chosen(
    run: LeakageRun, place: Place, rng: np.random.Generator, *, n_margin: int, n_random: int
) -> figures.Triplets | None:
    """Return some reconstructions with their nearest images; None where the run has none or does not allow images."""
    seed, target, method = place
    metric = run.primary_metric
    if metric is None or not run.shows_images:
        return None
    arrays, pool = run.arrays(seed, target, method), run.arrays(seed, target, "pool")
    pool_images = run.arrays(seed, target, "images")
    if not {"images", f"{metric}-index"} <= arrays.keys() or "images" not in pool_images or "member" not in pool:
        return None
    index, value = arrays[f"{metric}-index"], arrays[f"{metric}-value"]
    by_margin, at_random = chosen_rows(index, value, rng, n_margin=n_margin, n_random=n_random)
    rows = np.concatenate([by_margin, at_random])
    return figures.Triplets(
        images=arrays["images"][rows],
        classes=_class_titles(arrays["labels"][rows].tolist(), pool),
        how=["margin"] * len(by_margin) + ["random"] * len(at_random),
        pool=pool_images["images"],
        member=nearest_of(index[rows], value[rows], pool["member"]),
        control=nearest_of(index[rows], value[rows], ~pool["member"]),
    )


def _triplets_picture(run: LeakageRun, place: Place, chosen: figures.Triplets, name: str, beside: str) -> PageFigure:
    seed, target, method = place
    metric = str(run.primary_metric)
    direction = ", smaller is more similar" if run.better(metric) == "lower" else ""
    caption = f"{method} on {target} (seed {seed}), {metric} below each image{direction}. {beside}".rstrip()
    alt = "Reconstructions, nearest members and nearest controls"
    return PageFigure(name, png(figures.triplets(chosen)), caption, alt)


def _class_titles(labels: Sequence[int], pool: Mapping[str, np.ndarray]) -> list[str]:
    """Return the class of each reconstruction, by its name where the pool has names."""
    names = pool["class_names"].tolist() if "class_names" in pool else []
    return [names[label] if 0 <= label < len(names) else f"class {label}" for label in labels]


def _places(run: LeakageRun) -> list[Place]:
    """Return the first seed with each target and its methods."""
    places: dict[Place, None] = {}
    for seed in run.seeds[:1]:
        for row in run.tests:
            if row.target and row.method:
                places[seed, row.target, row.method] = None
    return list(places)
