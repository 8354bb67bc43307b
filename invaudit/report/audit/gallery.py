"""What each class looks like to the audited model, and which classes touch; with ``images: full`` alone."""

from invaudit.records.audit_gallery import GALLERY, GalleryRecord
from invaudit.records.explain import InversionRecord
from invaudit.report.audit.content import Content
from invaudit.report.audit.model import beside_pictures
from invaudit.report.drawing import LONGEST_CLASS, png
from invaudit.report.explain.classes import NOT_ASKED, OUTCOMES, little_said
from invaudit.report.explain.galleries import strips
from invaudit.report.explain.touching import BORDER, TITLE, UNIT, atlas_figure, pair_grid, reached
from invaudit.report.sections import PageFigure, Section
from invaudit.runtime.text import printable

NOTES = (
    "Each picture was searched for from nothing but the model: it is what makes the model answer with this class. "
    "Where a model gives its training images away, such a picture may resemble one.",
    "A short look, as far as the budget goes; it enters no verdict. `invaudit explain` looks closer: beside the "
    "nearest real images, through a second network, at what fools the model and what a decision rests on.",
)


def gallery(content: Content) -> Section | None:
    """Return inversions of each class, with what they are worth, and the atlas; None where the audit has none."""
    found = content.audit.gallery
    if found is None or not content.run.shows_images:
        return None
    title = "What each class looks like to the model"
    if found.inversion is None:
        return Section(title, missing=f"Nothing to show: {found.reason}.")
    shown = _pictures(content, found, found.inversion)
    notes = [*NOTES]
    if found.share_of_steps < 1:
        notes.append(f"{100 * found.share_of_steps:.3g} % of the steps of each search were done, for the budget.")
    if len(found.classes) < found.n_classes:
        notes.append(f"The first {len(found.classes)} of {found.n_classes} classes were looked at.")
    return Section(
        title,
        notes=notes,
        lines=_worth(found.inversion),
        figures=[] if shown is None else [shown],
        missing=f"Nothing to show: {found.inversion.reason or 'the folder holds no pictures'}.",
        parts=(_touching(content, found),),
    )


def _worth(search: InversionRecord) -> list[str]:
    """Return how the search ended, and what the pictures are worth."""
    outcome = OUTCOMES.get(search.outcome, search.outcome)
    lines = [f"{outcome[:1].upper()}{outcome[1:]} ({search.outcome}): {search.message.rstrip('.')}."]
    if search.accuracy:
        share = 100 * sum(search.accuracy) / len(search.accuracy)
        lines.append(f"{little_said(f'{share:.0f} %')} {NOT_ASKED}")
    return lines


def _pictures(content: Content, found: GalleryRecord, search: InversionRecord) -> PageFigure | None:
    """Return a row of pictures of each class; None where the folder holds none."""
    pictures = content.run.arrays(content.audit.seed, content.audit.target, GALLERY).get("images")
    if pictures is None:
        return None
    rows = []
    for label, of_class in enumerate(pictures):
        name = printable(found.class_names[label], LONGEST_CLASS)
        rows.append((f"{name} (this model: {100 * search.accuracy[label]:.0f} %)", of_class))
    caption = f"Searched for by {search.by}, a row for each class. {beside_pictures(content)}"
    return PageFigure(GALLERY, png(strips(rows)), caption, f"Inversions of {len(rows)} classes, a row for each")


def _touching(content: Content, found: GalleryRecord) -> Section:
    atlas = found.borders
    if atlas is None or not atlas.pairs:
        reason = found.reason if atlas is None else atlas.reason
        return Section(TITLE, missing=f"Not looked for: {reason}.")
    has_data = any(row.confused is not None for row in atlas.pairs)
    drawn = atlas_figure(found.class_names, atlas.pairs, has_data=has_data)
    begun = "an image of its class that it was not trained on" if atlas.starts == "real" else "an inversion"

    def name(label: int) -> str:
        return printable(found.class_names[label], LONGEST_CLASS)

    return Section(
        TITLE,
        notes=[f"{BORDER} Here it began from {begun}."],
        lines=[reached(atlas.borders, "pixels")],
        figures=[drawn._replace(caption=f"{drawn.caption} {beside_pictures(content)}")],
        grid=pair_grid(name, atlas),
        remarks=[UNIT],
    )
