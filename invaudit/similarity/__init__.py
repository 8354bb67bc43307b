"""Exact nearest-image search by SSIM, LPIPS and centred cosine.

The conventions of each metric are fixed in its file; ``nearest`` finds the k most similar images of any gallery.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.similarity.embedded import Embedded, embed_once
    from invaudit.similarity.registry import METRICS, Metric, make_metric
    from invaudit.similarity.search import Neighbours, nearest, pairwise
    from invaudit.similarity.shards import Shard, nearest_in_shards, shards_of
    from invaudit.similarity.structural import paired_ssim

__all__ = [
    "METRICS",
    "Embedded",
    "Metric",
    "Neighbours",
    "Shard",
    "embed_once",
    "make_metric",
    "nearest",
    "nearest_in_shards",
    "paired_ssim",
    "pairwise",
    "shards_of",
]
__getattr__, __dir__ = attach(__name__)
