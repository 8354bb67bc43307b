"""Pictures on the page of an audit; there are none unless the audit was made with ``images: full``."""

from invaudit.report.audit.content import Content
from invaudit.report.audit.model import beside_pictures
from invaudit.report.leakage.findings import smallest_p
from invaudit.report.leakage.pictures import image_pictures, sample_picture
from invaudit.report.sections import PageFigure, Section


def samples_picture(content: Content) -> PageFigure | None:
    """Return three reconstructions of the method with the smallest p-value beside their nearest images, for the top."""
    smallest = smallest_p(content.reconstruction.tests)
    if smallest is None or smallest[1].method is None:
        return None
    method = smallest[1].method
    return sample_picture(content.run, content.audit.target, method, "answer-pictures", beside_pictures(content))


def images(content: Content) -> Section | None:
    """Return reconstructions beside their nearest images; None if the audit does not allow images."""
    if not content.run.shows_images:
        return None
    return Section(
        "Reconstructions beside their nearest images",
        notes=(
            "Chosen without knowing who is a member: first those whose nearest pool image stands out most from the "
            "second nearest (margin), each pool image once before any comes twice; then some at random.",
        ),
        figures=list(image_pictures(content.run, beside_pictures(content))),
        missing="The folder holds no images.",
    )
