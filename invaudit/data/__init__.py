"""Image sets: the DATA grammar, the one transform, splits, the embedded digits benchmark, and synthetic outliers.

Every set is 8-bit until use, every draw comes from a generator that is passed in.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.data.digits import Benchmark, benchmark
    from invaudit.data.families import FAMILIES, synthetic_outliers
    from invaudit.data.images import ImageSet
    from invaudit.data.outliers import DERIVED, NOISES, derived, noise
    from invaudit.data.pixels import STATISTICS
    from invaudit.data.random import generator
    from invaudit.data.sources import SOURCES, load
    from invaudit.data.splits import Splits, refuse_duplicates, split
    from invaudit.data.transform import Transform, transform_of
    from invaudit.data.vision import torchvision

__getattr__, __all__ = attach(
    __name__,
    {
        "Benchmark": "digits",
        "DERIVED": "outliers",
        "FAMILIES": "families",
        "ImageSet": "images",
        "NOISES": "outliers",
        "SOURCES": "sources",
        "STATISTICS": "pixels",
        "Splits": "splits",
        "Transform": "transform",
        "benchmark": "digits",
        "derived": "outliers",
        "generator": "random",
        "load": "sources",
        "noise": "outliers",
        "refuse_duplicates": "splits",
        "split": "splits",
        "synthetic_outliers": "families",
        "torchvision": "vision",
        "transform_of": "transform",
    },
)
