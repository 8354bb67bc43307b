"""Image sets: the DATA grammar, the one transform, splits, the embedded digits benchmark, and synthetic outliers.

Every set is 8-bit until use, every draw comes from a generator that is passed in.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.data.digits import Benchmark, digits_benchmark
    from invaudit.data.families import FAMILIES, KEEP_PICTURE, synthetic_outliers
    from invaudit.data.image_set import ImageSet
    from invaudit.data.outliers import DERIVED, NOISES, derived, noise
    from invaudit.data.pixels import STATISTICS
    from invaudit.data.preparation import Preparation
    from invaudit.data.random import seeded_rng
    from invaudit.data.sources import SOURCES, load
    from invaudit.data.splits import Splits, refuse_duplicates, split
    from invaudit.data.transform import Transform

__all__ = [
    "DERIVED",
    "FAMILIES",
    "KEEP_PICTURE",
    "NOISES",
    "SOURCES",
    "STATISTICS",
    "Benchmark",
    "ImageSet",
    "Preparation",
    "Splits",
    "Transform",
    "derived",
    "digits_benchmark",
    "load",
    "noise",
    "refuse_duplicates",
    "seeded_rng",
    "split",
    "synthetic_outliers",
]
__getattr__, __dir__ = attach(__name__)
