"""The charts of an audit as they stand on its page, from the arrays that the folder keeps."""

import numpy as np

from invaudit.records.columns import distinct
from invaudit.records.leakage import ReadinessRow
from invaudit.records.names import ID_TEST, OURS
from invaudit.report.audit import figures
from invaudit.report.audit.content import Content
from invaudit.report.audit.figures import NearestShare
from invaudit.report.drawing import png
from invaudit.report.sections import PageFigure

MOST_SETS = 8
"""Sets in the chart of what is rejected; the table below has all."""


def standing_picture(content: Content) -> PageFigure | None:
    """Return where members stand among controls by the score with the smallest p-value; None without its scores."""
    if not content.membership_tests:
        return None
    score = content.membership_tests[0].score
    scores = _arrays(content, "signals").get(score)
    member = _arrays(content, "scored").get("member")
    if scores is None or member is None or len(scores) != len(member):
        return None
    known = np.isfinite(scores)
    of_members, of_controls = scores[known & member], np.sort(scores[known & ~member])
    if not len(of_members) or not len(of_controls):
        return None
    # Controls that score the same count half.
    lower = np.searchsorted(of_controls, of_members, "left") + np.searchsorted(of_controls, of_members, "right")
    shares = np.histogram(lower / (2 * len(of_controls)), bins=figures.TENTHS, range=(0, 1))[0] / len(of_members)
    caption = (
        f"{len(of_members):,} members among {len(of_controls):,} controls, by {score}. High bars on the right: members "
        "can be told."
    )
    alt = f"Share of members in each tenth of the controls by {score}; highest tenth: {100 * shares[-1]:.0f} per cent"
    return PageFigure("answer-membership", png(figures.standing(shares)), caption, alt)


def nearest_shares(content: Content) -> dict[str, NearestShare]:
    """Return how many reconstructions of each method have a member nearest; none where the folder keeps no lists."""
    metric, pool = content.run.primary_metric, _arrays(content, "pool")
    if metric is None or not {"member", "stratum"} <= pool.keys():
        return {}
    member, stratum = pool["member"], pool["stratum"]
    _, place = np.unique(stratum, return_inverse=True)
    expected = (np.bincount(place, weights=member) / np.bincount(place))[place]
    shares = {}
    for method in distinct(row.method for row in content.run.tests):
        index = _arrays(content, method).get(f"{metric}-index")
        if index is not None and len(index):
            nearest = index[:, 0]
            shares[method] = NearestShare(float(member[nearest].mean()), float(expected[nearest].mean()))
    return shares


def nearest_picture(content: Content) -> PageFigure | None:
    """Return of how many reconstructions the nearest image is a member; None where that is not kept."""
    shares = nearest_shares(content)
    if not shares:
        return None
    caption = (
        f"Images made from the model, nearest by {content.run.primary_metric}. Dark mark: chance. The tests decide; "
        "they allow for copies."
    )
    clauses = [f"{name} {100 * one.share:.0f}, by chance {100 * one.expected:.0f}" for name, one in shares.items()]
    alt = f"Per cent of reconstructions nearest to a member: {'; '.join(clauses)}"
    return PageFigure("answer-reconstruction", png(figures.nearest_shares(shares)), caption, alt)


def own_detector(content: Content) -> list[ReadinessRow]:
    """Return the rows of our detector, images of the model's own kind first."""
    rows = [row for row in content.run.readiness if row.detector == OURS[1]]
    return sorted(rows, key=lambda row: row.ood_set != ID_TEST)


def rejected_picture(content: Content) -> PageFigure | None:
    """Return what share of each set our detector rejects; None where that was not measured."""
    measured = [row for row in own_detector(content) if row.rejected is not None]
    if not measured:
        return None
    # The sets that a user gave come before noise where not all fit.
    order = {"id": 0, "given": 1}
    shown = sorted(measured, key=lambda row: order.get(row.group, 2))[:MOST_SETS]
    bars = [(row.ood_set, row.rejected or 0.0, row.ood_set == ID_TEST) for row in shown]
    more = "" if len(shown) == len(measured) else f" {len(measured) - len(shown)} more sets stand in the table."
    caption = (
        f"Its own kind (hatched) should be near the dashed 5, all others far beyond it. Detector: {OURS[1]}.{more}"
    )
    figures_text = ", ".join(f"{name} {100 * share:.0f}" for name, share, _ in bars)
    alt = f"Per cent rejected: {figures_text}"
    return PageFigure("answer-knowledge", png(figures.rejected(bars)), caption, alt)


def auroc_picture(content: Content) -> PageFigure | None:
    """Return the AUROC of each membership score; None where none has any."""
    measured = [row for row in content.run.membership if row.auroc is not None]
    if not measured:
        return None
    caption = (
        "How often a member scores higher than a control. 50 (dashed) is guessing. METHOD:METRIC scores an image by "
        "its most similar reconstruction of the same class."
    )
    alt = "AUROC of each membership score with its interval; the table below has the figures"
    return PageFigure("membership", png(figures.aurocs(measured)), caption, alt)


def _arrays(content: Content, name: str) -> dict[str, np.ndarray]:
    return content.run.arrays(content.audit.seed, content.audit.target, name)
