"""The fourth part of the page: what the decision on an image rests on."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from invaudit.records.explain import MASKS, MaskRow
from invaudit.report.audit.figures import NARROW
from invaudit.report.drawing import BLUE, GREY, ORANGE, png, styled
from invaudit.report.explain.content import Content
from invaudit.report.explain.galleries import strips
from invaudit.report.sections import PageFigure, Section
from invaudit.runtime.text import printable

LONGEST_FILE = 40
ORDERS = (
    ("mask", "the mask", BLUE, "-"),
    ("gradient", "input gradients", ORANGE, "--"),
    ("random", "by chance", GREY, ":"),
)
"""Order of the pixels, in words, with its colour and its line."""
AWAY = 0.25
"""Brightness that is left of what a mask does not keep."""


def deciding(content: Content) -> Section:
    """Return the masks of some images, with the curves that say how much they are worth."""
    found = content.found.masks
    title = "What a decision rests on"
    if not found.masks:
        return Section(title, missing=f"Not looked for: {found.reason}.")
    arrays = content.arrays(MASKS)
    figures = []
    for place, row in enumerate(found.masks):
        image, kept = arrays["images"][place], arrays["kept"][place]
        shaded = np.round(image * np.where(kept, 1.0, AWAY)).astype(np.uint8)
        importance = np.round(255 * arrays["importance"][place]).astype(np.uint8)[None].repeat(len(image), 0)
        rows = [("image, what is kept, importance", np.stack([image, shaded, importance]))]
        alt = f"mask of {printable(row.image, LONGEST_FILE)}"
        figures.append(PageFigure(f"mask-{place}", png(strips(rows, 3)), _caption(content, row), alt))
    lines = {name: (arrays[f"{name}-deletion"], arrays[f"{name}-insertion"]) for name, *_ in ORDERS}
    chart = png(curve_chart(arrays["shares"], lines))
    caption = (
        "Mean over the images shown. A map that knows what counts falls at once where pixels go, and rises at once "
        "where they come."
    )
    figures.append(PageFigure("curves", chart, caption, "Deletion and insertion curves"))
    return Section(
        title,
        notes=[
            "The mask keeps the smallest part of the image that was found to keep the answer; the rest is blurred. It "
            "is one such part, not the only one, and no proof of what the network looks at.",
        ],
        figures=figures,
    )


def _caption(content: Content, row: MaskRow) -> str:
    text = f"{printable(row.image, LONGEST_FILE)}: {content.name(row.label)} at {100 * row.p_image:.0f} %. "
    if row.kept:
        text += f"{100 * row.kept:.0f} % of the pixels keep this answer, at {100 * row.p_kept:.0f} %. "
    else:
        text += f"The blurred image alone keeps this answer, at {100 * row.p_kept:.0f} %: no part of it is needed. "
    return text + (
        f"Area under the deletion curve {row.mask_deletion:.2f} (gradients {row.gradient_deletion:.2f}, chance "
        f"{row.random_deletion:.2f}), insertion {row.mask_insertion:.2f} ({row.gradient_insertion:.2f}, "
        f"{row.random_insertion:.2f})."
    )


@styled
def curve_chart(shares: np.ndarray, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw deletion and insertion curves, each the mean over images.

    Args:
        shares: (S,) share of the pixels, from 0 to 1.
        curves: Name of an order of the pixels -> deletion and insertion, (N, S) each.
    """
    figure = Figure(figsize=(NARROW, 4.0), layout="constrained")
    axes = figure.subplots(2, sharex=True)
    for chart, words in enumerate(("pixels taken away (%)", "pixels brought in (%)")):
        for name, label, colour, line in ORDERS:
            axes[chart].plot(100 * shares, 100 * curves[name][chart].mean(0), line, color=colour, label=label)
        axes[chart].set_ylim(0, 100)
        axes[chart].set_ylabel("probability (%)", fontsize=8)
        axes[chart].set_xlabel(words, fontsize=8)
        axes[chart].tick_params(labelsize=8, labelbottom=True)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, handlelength=1.6
    )
    return figure
