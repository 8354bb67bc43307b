"""Detectors that need gradients or repeated passes: they run on images, through a copy of the network."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from invaudit.models import Activations, Classifier, Target
from invaudit.models.devices import seed_torch
from invaudit.ood.baselines.base import (
    Baseline,
    Hyperparameters,
    ScoreFunction,
    batched,
    plain,
)
from invaudit.ood.baselines.cached import MAPS, in_double, kept_maps
from invaudit.ood.fit_inputs import FitInputs
from invaudit.runtime.errors import ModelError, NotApplicableError

_BATCH, _SMALL_BATCH = 256, 32
_PIXELS = 64 * 64
"""Size of images up to which batches are as large as that: passes that keep gradients hold the maps of all layers."""
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def odin(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed ODIN with images in [0, 1]: the network normalises inside, so that no ``norm_std`` is due.

    A step of eps there is the same as the library's step of eps / std on normalised images.
    """
    model = deepcopy(inputs.target).eval().requires_grad_(False)
    return _on_copy(inputs, model, row.kind(model, **hyperparameters).predict)


def mahalanobis_odin(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed MahalanobisODIN: fitted to stored features, scored on images as ODIN is, in float64 as Mahalanobis is."""
    model = Tapped(deepcopy(inputs.target).eval().requires_grad_(False))
    detector = row.kind(lambda images: model.encode(images).double(), **hyperparameters)
    detector.fit_features(plain(inputs.train.features).to(inputs.target.device), inputs.train_labels)
    in_double(detector._base)
    return _on_copy(inputs, model.target, detector.predict)


def nac(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed NAC at the features, fitted to the training images whose maps are kept.

    At maps the library's defaults may rank the wrong way round.
    """
    model = Tapped(deepcopy(inputs.target).eval().requires_grad_(True))
    detector = row.kind(model, [model.features], **hyperparameters)
    images = inputs.maps.images.split(_fitting(inputs.target, _BATCH))
    detector.fit([part.to(inputs.target.device) for part in images])
    return _on_copy(inputs, model.target, detector.predict, form="images, neurons of the features")


def gradient(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed a gradient detector over all parameters, few images at once: it holds the gradients of each.

    The library replaces parameters while it works and loses those that go by two names; it gets a copy without such.
    """
    model = unaliased(inputs.target).eval()
    return _on_copy(inputs, model, row.kind(model, **hyperparameters).predict, batch=_SMALL_BATCH)


def dropout(row: Baseline, inputs: FitInputs, hyperparameters: Hyperparameters) -> ScoreFunction:
    """Feed MCD, seeded, with the same thinned networks for all images, so that a score does not depend on the batch.

    Where dropout comes after the last block only, stored maps of that block are passed on in place of images.

    Raises:
        NotApplicableError: The network has no dropout layer.
    """
    model = deepcopy(inputs.target).eval().requires_grad_(False)
    if not _share_dropout(model):
        raise NotApplicableError("needs dropout layers")
    module, seed = model.module, inputs.seed()
    if isinstance(module, Classifier) and inputs.maps.maps and not _has(module.blocks, SharedDropout):
        tail = nn.Sequential(module.pool, module.head).eval()
        predict = _same_draws(row.kind(tail, **hyperparameters).predict, seed)
        return _on_copy(inputs, model, predict, read=lambda activations: kept_maps(activations)[-1], form=MAPS)
    return _on_copy(inputs, model, _same_draws(row.kind(model, **hyperparameters).predict, seed))


class SharedDropout(nn.Module):
    """Dropout with one mask for all images of a batch."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs (B, ...) times a mask (1, ...)."""
        return inputs * self.layer(torch.ones_like(inputs[:1]))


class Tapped(nn.Module):
    """A target whose features go through a layer of their own, ``features``, where a hook can see them."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target, self.features = target, nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K)."""
        logits, _ = self._pass(images)
        return logits

    def encode(self, images: Tensor) -> Tensor:
        """Return features (B, D)."""
        _, features = self._pass(images)
        return features

    def _pass(self, images: Tensor) -> tuple[Tensor, Tensor]:
        with self.target.layers.recorded(self.target.module) as seen:
            logits = self.target(images)
        return logits, self.features(seen[self.target.layers.head])


def unaliased(model: nn.Module) -> nn.Module:
    """Return a copy in which no module and no parameter goes by two names."""
    model, seen = deepcopy(model), set[int]()
    for name, part in list(model.named_modules(remove_duplicate=False)):
        if id(part) in seen:
            model.set_submodule(name, deepcopy(part))
        seen.add(id(part))
    for part in model.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            if id(value) in seen:
                setattr(part, name, nn.Parameter(value.detach().clone()))
            seen.add(id(value))
    return model


def _on_copy(
    inputs: FitInputs,
    model: nn.Module,
    predict: Callable[[Tensor], Tensor],
    *,
    read: Callable[[Activations], Tensor] = lambda activations: activations.images,
    batch: int = _BATCH,
    form: str = "images",
) -> ScoreFunction:
    device, batch = inputs.target.device, _fitting(inputs.target, batch)
    score = batched(lambda activations: predict(read(activations).to(device)).detach().cpu(), batch)

    def checked(activations: Activations) -> Tensor:
        scores = score(activations)
        _assert_intact(model, inputs.target)
        return scores

    return ScoreFunction(checked, form)


def _fitting(target: Target, batch: int) -> int:
    """Return how many images a pass takes: fewer where they are large."""
    return max(1, min(batch, batch * _PIXELS // (target.spec.height * target.spec.width)))


def _assert_intact(model: nn.Module, target: Target) -> None:
    """Refuse scores of a detector that modified the network while it scored.

    Raises:
        ModelError: Names the first parameter or buffer that changed.
    """
    expected = target.state_dict()
    for name, value in model.state_dict(keep_vars=True).items():
        if type(value) not in (nn.Parameter, Tensor) or not torch.equal(value, expected[name]):
            raise ModelError(f"the detector changed {name} of the network while it scored")


def _same_draws(predict: Callable[[Tensor], Tensor], seed: int) -> Callable[[Tensor], Tensor]:
    def seeded_predict(inputs: Tensor) -> Tensor:
        with seed_torch(torch.Generator().manual_seed(seed)):
            return predict(inputs)

    return seeded_predict


def _share_dropout(model: nn.Module) -> bool:
    """Give every dropout layer one mask for all images of a batch, and return whether there is any such layer."""
    layers = []
    for name, part in model.named_modules(remove_duplicate=False):
        if isinstance(part, _DROPOUTS):
            layers.append((name, part))
    for name, layer in layers:
        model.set_submodule(name, SharedDropout(layer))
    return bool(layers)


def _has(module: nn.Module, kind: type) -> bool:
    return any(isinstance(part, kind) for part in module.modules())
