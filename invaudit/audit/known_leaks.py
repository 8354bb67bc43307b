"""Which network of ours stands for a leak that is known to be there: one of the audited model's own family."""

from torch import nn

from invaudit.leakage import RECIPES, TargetRecipe
from invaudit.models import Target

FAMILIES = {"fully connected": "mlp-decay", "convolutional": "cnn-decay", "with batch norm": "resnet20-adam"}
"""Family of architectures -> recipe of a network of that family that knows its members by heart."""


def family_of(target: Target) -> str:
    """Return the family of a model's architecture, a key of ``FAMILIES``.

    What decides is what attacks have to work with: batch norm keeps statistics of the training images, convolutions
    share their weights. A transformer has neither; it counts as fully connected.
    """
    parts = list(target.module.modules())
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in parts):
        return "with batch norm"
    convolutions = [part for part in parts if isinstance(part, nn.Conv2d)]
    attention = any(isinstance(part, nn.MultiheadAttention) for part in parts)
    return "convolutional" if convolutions and not attention else "fully connected"


def known_leak_recipe(target: Target) -> TargetRecipe:
    """Return how a network of the model's family is trained that is known to leak."""
    return RECIPES[FAMILIES[family_of(target)]]
