"""Galleries that take seconds."""

from invaudit.audit.gallery import PICTURES
from invaudit.explain import ExplainSettings

SEARCH = {"steps": 20, "generator": "upsample", "noise": 8, "eval_every": 20, "eval_images": 2, "batch_size": 20}


def quick_gallery(_target, seed=0):
    """Return settings in the place of ``gallery_settings``."""
    given = {"inversion": SEARCH, "images": PICTURES, "measured": PICTURES, "borders": {"steps": 10}, "seeds": (seed,)}
    return ExplainSettings.model_validate(given)
