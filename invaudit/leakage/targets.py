"""Targets of the leakage benchmark: small networks trained on few images, and the draw of who is a member."""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from invaudit.models import InputSpec, Target, accuracy, build, frozen_eval
from invaudit.models.architectures import full_name
from invaudit.models.devices import seed_torch
from invaudit.models.training import shifted
from invaudit.runtime.errors import ModelError, SettingError
from invaudit.runtime.settings import Rate, Settings

REFERENCE_SHARE = 4
"""One image in this many is set aside as reference."""


class TargetRecipe(Settings):
    """How a target is trained: every step on all members at once."""

    arch: str = "mlp-300"
    """Architecture of invaudit, such as ``mlp-300`` or ``tiny-cnn``."""

    optimizer: Literal["sgd", "adam"] = "sgd"
    """The optimiser."""

    learning_rate: Rate = 0.5
    """Its learning rate."""

    steps: int = Field(default=3000, ge=1)
    """Its steps."""

    weight_decay: float = Field(default=0.0, ge=0, le=1_000)
    """Its weight decay, which makes a target leak more."""

    first_scale: float = Field(default=1.0, gt=0, le=1_000)
    """Factor on the initial weights of the first layer; 1 is torch's own."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of features dropped before the head while training."""

    shift: int = Field(default=0, ge=0, le=1_000)
    """Random shift of the images in every step, in pixels (0: none)."""

    least_accuracy: float = Field(default=0.9, ge=0, le=1)
    """Accuracy on the members under which the training counts as failed."""


RECIPES = {
    "mlp": TargetRecipe(),
    "mlp-decay": TargetRecipe(learning_rate=0.3, steps=8000, weight_decay=1e-3),
    "mlp-adam": TargetRecipe(optimizer="adam", learning_rate=1e-3, steps=1500),
    "deep-mlp-decay": TargetRecipe(arch="mlp-150-150", learning_rate=0.3, steps=8000, weight_decay=1e-3),
    "cnn-adam": TargetRecipe(arch="tiny-cnn", optimizer="adam", learning_rate=1e-3, steps=600),
    "cnn-decay": TargetRecipe(arch="tiny-cnn", learning_rate=0.1, steps=3000, weight_decay=2e-3),
    "resnet20-adam": TargetRecipe(arch="resnet20", optimizer="adam", learning_rate=1e-3, steps=150),
}
"""Recipes by name. Full-batch training to a good fit is what makes a target leak; weight decay makes it leak more."""


@dataclass(frozen=True)
class PairsDraw:
    """Pairs of pool images, one of each trained on, and a reference set that holds neither.

    Attributes:
        index: (2m,) int64, positions of the pool in the data; drawn before the coins, so the order tells nothing.
        pair: (2m,) int64 in [0, m); the two images of a pair share their class.
        member: (2m,) bool, the coin of each pair: one True and one False.
        reference: Positions of one image in four, disjoint from the pool.
        left_out: Classes with too few images, of which there are no pairs.
    """

    index: Tensor
    pair: Tensor
    member: Tensor
    reference: Tensor
    left_out: tuple[int, ...] = ()


def draw_pairs(labels: Tensor, n_pairs: int, rng: torch.Generator, *, leave_out_rare: bool = False) -> PairsDraw:
    """Draw the pool of the ``pairs`` design: same-class pairs, a fair coin in each, classes in equal numbers.

    Args:
        labels: (N,) int64 in [0, classes).
        n_pairs: Pairs m; the first m mod classes classes get one more.
        rng: Source of the draw.
        leave_out_rare: Draw from the other classes, two at least, where a class has too few images beside the reference
            set.

    Raises:
        SettingError: No pairs asked for, or a class has too few images beside the reference set.
    """
    if n_pairs < 1:
        raise SettingError(f"n_pairs is {n_pairs}, expected at least 1")
    order = torch.randperm(len(labels), generator=rng)
    reference, candidates = order.tensor_split([len(labels) // REFERENCE_SHARE])
    there = labels[candidates].bincount(minlength=int(labels.max()) + 1).tolist()
    shares = _shares(there, n_pairs, leave_out_rare=leave_out_rare)
    pairs = [candidates[labels[candidates] == label][: 2 * share].view(-1, 2) for label, share in shares.items()]
    index = torch.cat(pairs)
    coins = torch.randint(2, (n_pairs, 1), generator=rng).bool()
    return PairsDraw(
        index.flatten(),
        torch.arange(n_pairs).repeat_interleave(2),
        torch.cat([coins, ~coins], 1).flatten(),
        reference.sort().values,
        tuple(label for label in range(len(there)) if label not in shares),
    )


def _shares(there: list[int], n_pairs: int, *, leave_out_rare: bool) -> dict[int, int]:
    """Return the number of pairs of each class, for the numbers of images that there are.

    A rare class is left out by itself: what the others then give more of is known only when it is gone.
    """
    chosen = list(range(len(there)))
    while True:
        more = n_pairs % len(chosen)
        shares = {label: n_pairs // len(chosen) + (place < more) for place, label in enumerate(chosen)}
        short = [label for label in chosen if there[label] < 2 * shares[label]]
        if not short:
            return shares
        if not leave_out_rare or len(chosen) <= 2:
            raise SettingError(
                f"class {short[0]} has {there[short[0]]} images beside the reference set, expected "
                f"{2 * shares[short[0]]} for {n_pairs} pairs; ask for fewer pairs or give more images"
            )
        chosen.remove(min(short, key=there.__getitem__))


def untrained_target(recipe: TargetRecipe, spec: InputSpec, classes: int, rng: torch.Generator) -> Target:
    """Return the untrained target of a recipe; two classes have two logits.

    Raises:
        ModelError: Unknown architecture.
    """
    with seed_torch(rng):
        module = build(recipe.arch, spec, classes)
    if recipe.dropout:
        module.pool = nn.Sequential(module.pool, nn.Dropout(recipe.dropout))
    if recipe.first_scale != 1:
        with torch.no_grad():
            next(module.parameters()).mul_(recipe.first_scale)
    return Target(module, spec, classes, arch=full_name(recipe.arch))


def train_target(
    recipe: TargetRecipe,
    images: Tensor,
    labels: Tensor,
    classes: int,
    rng: torch.Generator,
    *,
    device: torch.device | str = "cpu",
) -> Target:
    """Train a target of the benchmark, by full-batch steps on the cross-entropy of images less their mean grey level.

    Args:
        recipe: How, e.g. one of ``RECIPES``.
        images: (N, C, H, W) float32 in [0, 1], the members.
        labels: (N,) int64 in [0, classes).
        classes: Number of classes.
        rng: CPU source of initial weights, dropout and shifts.
        device: Where to train; the target stays there.

    Returns:
        The target in eval mode.

    Raises:
        ModelError: Training diverged, or fits fewer of the members than ``least_accuracy``: such a target is no test
            of an attack.
        SettingError: A label outside [0, classes), or not one for each image.
    """
    if len(labels) != len(images) or int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise SettingError(f"{len(images)} images, {len(labels)} labels; expected one in [0, {classes}) for each image")
    spec = InputSpec(*images.shape[1:], mean=tuple(images.mean((0, 2, 3)).tolist()))
    target = untrained_target(recipe, spec, classes, rng).to(device)
    optimizer = _optimizer(recipe, target)
    images, labels = images.to(device), labels.to(device)
    target.train()
    with seed_torch(rng):
        for _ in range(recipe.steps):
            inputs = shifted(images.cpu(), recipe.shift, rng).to(device) if recipe.shift else images
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(target(inputs), labels).backward()
            optimizer.step()
    target.eval()
    with frozen_eval(target), torch.no_grad():
        logits = target(images)
    fit = accuracy(logits.argmax(1), labels)
    if not logits.isfinite().all() or fit < recipe.least_accuracy:
        raise ModelError(
            f"the target fits {fit:.0%} of its {len(images)} members after {recipe.steps} steps, expected at least "
            f"{recipe.least_accuracy:.0%}; change learning_rate (now {recipe.learning_rate:g}) or give more steps"
        )
    return target


def _optimizer(recipe: TargetRecipe, target: Target) -> torch.optim.Optimizer:
    kind = torch.optim.SGD if recipe.optimizer == "sgd" else torch.optim.Adam
    return kind(target.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
