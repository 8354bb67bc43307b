"""The cycle train - invert - exclude - retrain (arXiv 2505.23448, 2512.00229)."""

import logging
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invaudit.data import ImageSet
from invaudit.inversion import Inverter
from invaudit.models import InputSpec, Outliers, Target, collect, frozen_eval, train
from invaudit.models.architectures import full_name
from invaudit.models.devices import resolve_precision, seed_torch
from invaudit.models.families import build_network, initialise_lazy
from invaudit.ood.garbage import Garbage, sharpened
from invaudit.ood.recipes import GarbageSettings, Recipe
from invaudit.ood.scores import uncertainty
from invaudit.runtime.errors import ModelError, SettingError
from invaudit.runtime.files import content_hash

logger = logging.getLogger(__name__)
SHOWN = 4
"""Inversions of each class that a snapshot keeps."""


@dataclass
class Snapshots:
    """Inversions over the cycles, for people to look at: ``images`` (classes, k, C, H, W) uint8 of each epoch."""

    epochs: list[int] = field(default_factory=list)
    images: list[Tensor] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"epochs": list(self.epochs), "images": list(self.images)}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state of a checkpoint."""
        self.epochs, self.images = list(state["epochs"]), list(state["images"])


@dataclass(frozen=True)
class TrainingResult:
    """A trained network and what it cost.

    Attributes:
        target: The network, in eval mode.
        steps: Optimiser steps of the classifier.
        inversion_steps: Optimiser steps of the generator.
        inversions: Images put into the garbage class by exclusion.
        seconds: Wall time of training; an epoch that was interrupted and done again counts once.
        snapshots: Inversions over the cycles.
    """

    target: Target
    steps: int
    inversion_steps: int
    inversions: int
    seconds: float
    snapshots: Snapshots


class Cycle:
    """Inverts the network every so many steps and excludes what comes out: a state that training carries along."""

    def __init__(
        self,
        target: Target,
        recipe: Recipe,
        garbage: Garbage,
        held_out: ImageSet,
        rng: torch.Generator,
        *,
        steps_per_epoch: int,
    ) -> None:
        self.target, self.recipe, self.garbage, self.held_out, self.rng = target, recipe, garbage, held_out, rng
        self.steps_per_epoch = steps_per_epoch
        self.inverter = self._new()
        self.cycles = self.steps = self.excluded = 0
        self.snapshots = Snapshots()

    def __call__(self, step: int) -> None:
        """Run one cycle after ``step`` steps where one is due; the last step has nothing to train after it."""
        settings = _garbage(self.recipe)
        every = max(1, round(settings.every * self.steps_per_epoch))
        if step % every or step >= self.recipe.training.epochs * self.steps_per_epoch:
            return
        if settings.renew_every and self.cycles and self.cycles % settings.renew_every == 0:
            self.inverter = self._new()
        inversion = self.inverter.run(self.target)
        self.steps += self.recipe.inversion.steps
        self.cycles += 1
        if inversion.outcome == "diverged":
            logger.warning(
                "step %d: %s; this cycle adds nothing, the next one starts a new generator", step, inversion.message
            )
            self.inverter = self._new()
            return
        classes = self.target.classes
        labels = torch.arange(classes).repeat(-(-settings.per_cycle // classes))[: settings.per_cycle]
        images = self.inverter.sample(labels, self.rng)
        self._take_snapshot(images, labels, epoch=-(-step // self.steps_per_epoch))
        if settings.exclude == "uncertain":
            images = images[self._uncertain(images)]
        self.excluded += len(images)
        self.garbage.remember(images)

    def _take_snapshot(self, images: Tensor, labels: Tensor, *, epoch: int) -> None:
        """Keep the first inversions of each class of an epoch, for people to look at."""
        classes = self.target.classes
        per_class = min(SHOWN, _garbage(self.recipe).per_cycle // classes)
        if epoch in self.snapshots.epochs or not per_class:
            return
        rows = []
        for label in range(classes):
            rows.append(self.garbage.quantise(images[labels == label][:per_class].cpu()))
        self.snapshots.epochs.append(epoch)
        self.snapshots.images.append(torch.stack(rows))

    def _uncertain(self, images: Tensor) -> Tensor:
        classes = self.target.classes
        threshold = uncertainty(collect(self.target, self.held_out, keep_maps=False).logits, classes).quantile(0.95)
        with frozen_eval(self.target), torch.no_grad():
            return uncertainty(self.target(images.to(self.target.device)).cpu(), classes) > threshold

    def _new(self) -> Inverter:
        return Inverter(self.recipe.inversion, self.target, self.rng)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {
            "inverter": self.inverter.state_dict(),
            "garbage": self.garbage.state_dict(),
            "snapshots": self.snapshots.state_dict(),
            "counts": [self.cycles, self.steps, self.excluded],
            "rng": self.rng.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state of a checkpoint."""
        self.inverter.load_state_dict(state["inverter"])
        self.garbage.load_state_dict(state["garbage"])
        self.snapshots.load_state_dict(state["snapshots"])
        self.cycles, self.steps, self.excluded = state["counts"]
        self.rng.set_state(state["rng"])


def untrained_target(arch: str, data: ImageSet, classes: int, rng: torch.Generator, *, garbage: bool) -> Target:
    """Return an untrained network for these images, normalised by the mean and std of their pixels.

    Args:
        arch: Name of an architecture, as in the MODEL grammar.
        data: Training images.
        classes: Number of ID classes.
        rng: Source of the initial weights.
        garbage: Whether to add the garbage class.

    Raises:
        ModelError: Unknown architecture, code of others that fails, or that gives another number of outputs.
    """
    pixels = data.in_memory(1_000).images.double().div(255).transpose(0, 1).flatten(1)
    mean, std = pixels.mean(1).tolist(), pixels.std(1).clamp_min(1e-3).tolist()
    spec = InputSpec(*data.shape, mean=tuple(mean), std=tuple(std))
    arch = full_name(arch)
    family, _, name = arch.partition(":")
    if (family == "torchvision" and "@" in name) or (family == "timm" and "." in name):
        raise ModelError(
            f"{arch} names published weights, and this network is trained anew; leave them out, or name them as the "
            "model (--model)"
        )
    with seed_torch(rng):
        module = build_network(arch, spec, classes + garbage)
        initialise_lazy(module, spec)
    target = Target(module, spec, arch=arch)
    if target.outputs not in (classes, classes + garbage):
        raise ModelError(
            f"{arch} gives {target.outputs} outputs, and {data.name} has {classes} classes; expected as many outputs"
        )
    if target.outputs == classes:
        # Code of others has the outputs that it has; the garbage class is put on.
        return with_garbage(target) if garbage else target
    return Target(target.module, spec, classes, layers=target.layers, arch=arch)


def with_garbage(target: Target) -> Target:
    """Return a copy of a trained n-class network with a garbage class whose logit starts at the mean of the others."""
    if target.has_garbage:
        return deepcopy(target)
    old = target.head
    head = nn.Linear(old.in_features, target.classes + 1, bias=old.bias is not None, device=target.device)
    with torch.no_grad():
        head.weight.copy_(torch.cat([old.weight, old.weight.mean(0, keepdim=True)]))
        if old.bias is not None:
            head.bias.copy_(torch.cat([old.bias, old.bias.mean(0, keepdim=True)]))
    module = deepcopy(target.module)
    module.set_submodule(target.layers.head, head)
    return target.with_module(module, target.classes)


def train_network(
    target: Target,
    data: ImageSet,
    recipe: Recipe,
    rng: torch.Generator,
    *,
    held_out: ImageSet,
    real: ImageSet | None = None,
    checkpoint: Path | None = None,
) -> TrainingResult:
    """Train a network in place by a recipe: plainly, with the garbage cycle, or with a loss of its own.

    Args:
        target: The network; it has a garbage class exactly if ``recipe.has_garbage_class``.
        data: ID training images.
        recipe: How.
        rng: Source of everything random; garbage and cycle draw from children of it, so that the ID batches of all
            networks of one seed are the same.
        held_out: ID images that are not trained on (for selective exclusion).
        real: Real outliers, through the transform of ``data``, where the recipe asks for some.
        checkpoint: File to continue from.

    Raises:
        SettingError: The recipe has a garbage class and the network has none, or the other way round; or it asks for
            real outliers and there are none.
        RunFolderError: The checkpoint is of a training with another beginning, recipe or images.
    """
    if recipe.has_garbage_class != target.has_garbage:
        raise SettingError(
            "a recipe with a garbage class needs a network with one, and a recipe without needs a network without"
        )
    if recipe.garbage and recipe.garbage.real and real is None:
        raise SettingError("the recipe has a share of real outliers and none are given; set garbage.real to 0")
    outliers = cycle = None
    precision = resolve_precision(recipe.training.precision, target.device)
    garbage_rng = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=rng)))
    if recipe.garbage:
        garbage = Garbage(recipe.garbage, target.spec.shape, garbage_rng, data.quantise, real.images if real else None)
        draw = _drawing(target, garbage, recipe.garbage, precision)
        outliers = Outliers(draw, recipe.garbage.slots, recipe.garbage.weight)
        steps = recipe.training.steps_per_epoch(len(data))
        cycle = Cycle(target, recipe, garbage, held_out, garbage_rng, steps_per_epoch=steps)
    history = train(
        target,
        data,
        recipe.training,
        rng,
        precision=precision,
        outliers=outliers,
        loss=_loss(recipe.loss, target, garbage_rng) if recipe.loss else None,
        after_step=cycle if recipe.garbage and recipe.garbage.inversions else None,
        state={"cycle": cycle} if cycle else None,
        checkpoint=checkpoint,
        identity=content_hash(recipe.model_dump_json(), held_out.hash, real.hash if real else ""),
    )
    if cycle is None:
        return TrainingResult(target, history.steps, 0, 0, history.seconds, Snapshots())
    return TrainingResult(target, history.steps, cycle.steps, cycle.excluded, history.seconds, cycle.snapshots)


def _drawing(
    target: Target, garbage: Garbage, settings: GarbageSettings, precision: torch.dtype
) -> Callable[[int, Tensor, Tensor], Tensor]:
    """Return what draws garbage images, sharpened against the target as it is in that step."""
    if not settings.sharpen:
        return garbage.draw

    def draw(n: int, images: Tensor, labels: Tensor) -> Tensor:
        drawn = garbage.draw(n, images, labels)
        n_sharpened = max(1, round(settings.sharpen_share * n))
        chosen = torch.linspace(0, n - 1, n_sharpened, device=drawn.device).round().long()
        moved = sharpened(target, drawn[chosen], settings.sharpen, settings.sharpen_size, precision)
        drawn[chosen] = garbage.quantise(moved.cpu()).to(drawn.device).float() / 255
        return drawn

    return draw


def _loss(name: str, target: Target, rng: torch.Generator) -> nn.Module:
    # Here, since it loads pytorch-ood, which networks of ours do without.
    from invaudit.ood.losses import loss_of

    return loss_of(name, target, rng)


def _garbage(recipe: Recipe) -> GarbageSettings:
    if recipe.garbage is None:
        raise SettingError("the recipe has no garbage class")
    return recipe.garbage
