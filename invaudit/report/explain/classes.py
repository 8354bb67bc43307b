"""The first part of the page: what each class looks like to the network, and how much that means."""

from invaudit.records.explain import INVERSION, NEAREST, Figure
from invaudit.report.drawing import png
from invaudit.report.explain.content import Content, interval
from invaudit.report.explain.galleries import strips
from invaudit.report.sections import Grid, GridColumn, GridPart, GridRow, PageFigure, Section

MOST_CLASSES = 20
"""Classes that have a picture of their own on the page; the arrays hold all of them."""
OUTCOMES = {
    "converged": "the search found a picture of every class",
    "budget": "the search did not find a picture of every class within its steps",
    "uninformative": "the pictures it wants show nothing of their classes",
    "collapsed": "the pictures of a class are copies of one another, or far more alike than real ones",
    "diverged": "the search failed",
}
"""How a search ended, in words."""
MEASURES = (
    ("inversion_accuracy", None, "given the wanted class by this network", True),
    ("second_accuracy", "second_accuracy_real", "given the wanted class by the second network", True),
    ("precision", "precision_real", "lie where real images lie (precision)", True),
    ("recall", "recall_real", "real images that lie where they lie (recall)", True),
    ("density", "density_real", "how thickly real images lie around them (density)", False),
    ("coverage", "coverage_real", "real images that have one near to them (coverage)", True),
    ("feature_cosine", "feature_cosine_real", "likeness within a class: cosine of features", False),
    ("pixel_cosine", "pixel_cosine_real", "likeness within a class: cosine of pixels", False),
    ("ssim", "ssim_real", "likeness within a class: SSIM", False),
    ("lpips", "lpips_real", "difference within a class: LPIPS", False),
)  # fmt: skip
"""Measure, the same of real images, in words, and whether it is a share."""


def classes(content: Content) -> Section:
    """Return the inversions of each class beside their nearest real images."""
    found = content.found
    if found.inversion.status != "ok":
        return Section("What each class looks like to it", missing=f"Nothing to show: {found.inversion.reason}.")
    inversions = content.arrays(INVERSION)["images"]
    has_real = found.nearest.status == "ok"
    real = content.arrays(NEAREST)["images"] if has_real else None
    figures = []
    for label, pictures in enumerate(inversions[:MOST_CLASSES]):
        rows = [(f"{content.name(label)}: what the network looks for", pictures)]
        if real is not None and found.nearest.similarity[label] is not None:
            rows.append(("the nearest real images, one below each", real[label]))
        alt = f"{content.name(label)}: {'; '.join(title for title, _ in rows)}"
        figures.append(PageFigure(f"class-{label}", png(strips(rows)), _caption(content, label), alt))
    notes = [
        "Each picture was searched for from nothing but the network: it is what makes the network answer with this "
        "class. It is no training image, and no real thing.",
    ]
    if not has_real:
        notes.append(f"Nearest real images: none, {found.nearest.reason}.")
    if len(inversions) > MOST_CLASSES:
        notes.append(f"{MOST_CLASSES} of {len(inversions)} classes are shown; {INVERSION}.npz holds all of them.")
    return Section("What each class looks like to it", notes=notes, figures=figures)


def _caption(content: Content, label: int) -> str:
    found = content.found
    text = f"This network: {100 * found.inversion.accuracy[label]:.0f} % of them are {content.name(label)}"
    second = content.share("second_accuracy", label)
    text += f", the second network: {second}" if second else ""
    real = content.share("second_accuracy_real", label)
    text += f" (of real images: {real})" if real else ""
    similarity = found.nearest.similarity[label] if found.nearest.similarity else None
    return text + ("." if similarity is None else f". Mean SSIM to the nearest real image: {similarity:.2f}.")


def figures(content: Content) -> Section:
    """Return the measures of the inversions beside those of real images."""
    measures = content.found.measures
    title = "How much these pictures mean"
    if not measures.measures:
        return Section(title, missing=f"Not measured: {measures.reason}.")
    reasons = {row.name: row.reason or "" for row in measures.measures if row.label is None}
    rows, missing = [], {}
    for name, of_real, words, is_share in MEASURES:
        values = [_text(content, one, is_share=is_share) for one in (name, of_real)]
        if any(values):
            rows.append(GridRow([words, *values]))
        for one in (name, of_real):
            if one is not None and reasons.get(one):
                missing.setdefault(reasons[one], words)
    columns = [GridColumn("", wraps=True), GridColumn("inversions"), GridColumn("real images")]
    remarks = [f"Without a figure ({words} and others): {reason}." for reason, words in missing.items()]
    return Section(
        title,
        lines=[meaning(content)],
        grid=Grid(columns, [GridPart(rows)], is_long=False),
        remarks=[*remarks, "In brackets: 95 % intervals."],
    )


def _text(content: Content, name: str | None, *, is_share: bool) -> str:
    figure: Figure | None = None if name is None else content.measures.get((name, None))
    return interval(figure, per_cent=is_share)


NOT_ASKED = "Whether anybody else would see the class in them was not measured; look at them."


def little_said(share: str) -> str:
    """Return what it says that a network gives a share of its own inversions, in per cent, their class."""
    return f"That this network gives {share} of the pictures their class says little: they were made for that."


def meaning(content: Content) -> str:
    """Return what the figures say together, in plain words."""
    second = content.measures.get(("second_accuracy", None))
    own = content.share("inversion_accuracy")
    text = little_said(own)
    if second is None:
        return f"{text} {NOT_ASKED}"
    real = content.share("second_accuracy_real")
    text += f" A second network, which never saw the first one, gives {100 * second.value:.0f} % of them the class"
    text += f", and {real} of real images" if real else ""
    return (
        f"{text}. This is an upper bound on how many show their class: what fools one network often fools another, so "
        "a picture that both agree on may still show nothing to a person."
    )
