"""Exact nearest-image search by SSIM, LPIPS and centred cosine.

The conventions of each metric are fixed in its file; ``nearest`` finds the k most similar images of any gallery.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.similarity.images import flat_images
    from invaudit.similarity.metrics import METRICS, Metric, make_metric
    from invaudit.similarity.search import Neighbours, nearest, pairwise
    from invaudit.similarity.structural import paired_ssim
    from invaudit.similarity.weights import MissingWeightsError

__getattr__, __all__ = attach(
    __name__,
    {
        "METRICS": "metrics",
        "Metric": "metrics",
        "MissingWeightsError": "weights",
        "Neighbours": "search",
        "flat_images": "images",
        "make_metric": "metrics",
        "nearest": "search",
        "paired_ssim": "structural",
        "pairwise": "search",
    },
)
