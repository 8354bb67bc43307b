"""KKT reconstruction: images whose gradients, with multipliers >= 0, add up to the weights of the target."""

import logging
import math
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from invaudit.inversion.outcome import Outcome
from invaudit.inversion.pixels import optimise_pixels, run_search
from invaudit.inversion.settings import RecordEvery
from invaudit.leakage.gradients import fan_in, layers, log_odds, squared_lengths
from invaudit.leakage.reconstruction import Reconstructions, balanced_labels, search_identity
from invaudit.models import Target, frozen_eval
from invaudit.models.checkpoints import Checkpoint
from invaudit.runtime.errors import ModelError, ShapeError
from invaudit.runtime.settings import Images, Rate, Settings, Weight

COLLAPSED = 0.97
"""Share of the weights left unexplained from which the multipliers of a restart count as fallen to zero."""

RATE_END = 0.02
"""Share of its first value at which a learning rate ends (cosine)."""

RIDGE = 0.02
"""What is added to the diagonal of the reference covariance, in multiples of its mean variance."""

_log = logging.getLogger(__name__)


class KKTSettings(Settings):
    """How ``kkt`` searches for images; the defaults were chosen on targets that share no seed with a report."""

    images: Images = 80
    """Images of a restart: twice the number of members where it is known (n to 4n make no difference)."""

    restarts: int = Field(default=3, ge=1, le=10_000)
    """Searches from different starts. A candidate is to be scored by the mean over restarts of its best similarity:
    better than one longer run."""

    steps: int = Field(default=1500, ge=1)
    """Optimiser steps of a restart."""

    learning_rate: Rate = 0.02
    """First learning rate of Adam for the images."""

    multiplier_rate: Rate = 0.01
    """First learning rate of Adam for the roots of the multipliers, in multiples of their start."""

    sharpness: tuple[PositiveFloat, PositiveFloat] = (2.0, 50.0)
    """Sharpness of the smoothed derivative of ReLU, at the start and at the end of a restart; geometric between."""

    prior: Weight = 0.01
    """Weight of the image prior; it needs reference images."""

    spread: float | None = Field(default=None, gt=0, le=100)
    """Standard deviation of the first images; unset: 0.3 at a side of 8, falling to 0.1 at 28."""

    record_every: RecordEvery = 250
    """Steps between two records of the loss, which also write the checkpoint."""


def kkt(
    target: Target,
    settings: KKTSettings,
    rng: torch.Generator,
    *,
    reference: Tensor | None = None,
    checkpoint: Path | None = None,
) -> Reconstructions:
    """Search images and multipliers that satisfy the target's KKT conditions as nearly as they can.

    Minimised over images x_i in [0, 1] and multipliers l_i = u_i^2, with labels fixed and balanced:

        sum over layers of w |theta - sum_i l_i grad s(x_i, y_i)|^2 / sum over layers of w |theta|^2

    where s is ``gradients.log_odds`` and w the fan-in of the layer. The derivative of ReLU is smoothed in
    the backward pass: sigmoid(k z / size), size the rms of the unit over the batch. With reference images (mean m,
    covariance S) a prior keeps the images plausible: 0.01 mean_i (x_i - m)' S^-1 (x_i - m) / pixels.

    A small loss is no sign of a good reconstruction, and no restart is chosen by it: all are returned, and a candidate
    is to be scored by the mean over restarts of its best similarity. The theory asks for a homogeneous network
    without biases beyond the first layer that was trained to the end; on others this is a heuristic, and is logged so.

    Args:
        target: Borrowed in eval mode: frozen, and given back as it was. Linear and convolutional layers are read.
        settings: How to search.
        rng: CPU generator of the first images of all restarts.
        reference: (M, C, H, W) in [0, 1], images like the members that hold no pool image; None goes without prior.
        checkpoint: File that is written at every record; where it exists, the search goes on from it.

    Returns:
        The images of all restarts. The outcome is ``budget``; ``collapsed`` where in every restart the multipliers
        fell to zero; ``diverged`` where a loss was not finite. ``history`` holds ``loss/RESTART``, the loss above
        without the prior.

    Raises:
        ModelError: The target has batch norm, whose weights the conditions do not cover.
        ShapeError: The reference has images of another shape, or fewer than two.
        RunFolderError: The checkpoint belongs to another search.

    References:
        Haim et al. (arXiv 2206.07758, Eq. 5 to 8) for two classes, Buzaglo et al. (arXiv 2307.01827, section 4) for
        more. Ours are the logsumexp in the log-odds (theirs takes the largest other logit), the weights of the layers,
        the smoothing relative to the size of a unit and its schedule, the prior, the start of the multipliers, and
        Adam.
    """
    _refuse(target, reference)
    file = None
    if checkpoint is not None:
        file = Checkpoint(checkpoint, search_identity(target, settings, rng, reference), "search")
    with frozen_eval(target):
        search = KKTSearch(target, settings, rng, reference)
        run_search(search, file, label="KKT reconstruction")
    return search.reconstructions()


class KKTSearch:
    """The search for images and multipliers: the restarts that are finished, and the one that runs.

    Args:
        target: In eval mode and frozen.
        settings: How to search.
        rng: CPU generator of the first images of all restarts.
        reference: (M, C, H, W) in [0, 1], where there are any.
    """

    def __init__(self, target: Target, settings: KKTSettings, rng: torch.Generator, reference: Tensor | None) -> None:
        self.settings = settings
        self.labels = balanced_labels(target.classes, settings.images)
        self.equations = _Equations(target, self.labels)
        self.prior = None if reference is None else _Prior(reference.to(target.device), settings.prior)
        self.starts = _starts(target, settings, rng, reference)
        self.finished: list[Tensor] = []
        self.losses: list[list[float]] = []
        self._begin()

    @property
    def records_left(self) -> int:
        """Number of records still to be made, over all restarts."""
        records_of_a_restart = math.ceil(self.settings.steps / self.settings.record_every)
        records_made = sum(map(len, self.losses))
        return self.settings.restarts * records_of_a_restart - records_made

    def advance(self) -> None:
        """Take the steps to the next record; a restart that is done makes room for the next."""
        settings = self.settings
        if self.step == settings.steps:
            self._begin()
        if self.step == 0:
            self.losses.append([])
        steps = range(self.step, min(self.step + settings.record_every, settings.steps))
        unexplained = torch.zeros(())

        def loss(step: int) -> Tensor:
            nonlocal unexplained
            share = self.equations.loss(self.images, self.roots, self._sharpness(step))
            unexplained = share.detach()
            return share if self.prior is None else share + self.prior.linear(self.images)

        optimise_pixels(self.images, loss, self.optimizer, steps, before_step=self._set_rates)
        self.step = steps.stop
        self.losses[-1].append(float(unexplained))
        if self.step == settings.steps:
            self.finished.append(self.images.detach().cpu())

    def reconstructions(self) -> Reconstructions:
        """Return the images of all restarts and how they ended."""
        history: dict[str, list[float]] = {}
        last_losses: list[float] = []
        loss_texts: list[str] = []
        collapsed: list[str] = []
        for number, losses in enumerate(self.losses):
            history[f"loss/{number}"] = losses
            last_losses.append(losses[-1])
            loss_texts.append(f"{losses[-1]:.3f}")
            if losses[-1] >= COLLAPSED:
                collapsed.append(str(number))
        images, labels = torch.cat(self.finished), self.labels.repeat(len(last_losses))
        restart = torch.arange(len(last_losses)).repeat_interleave(len(self.labels))
        message = f"share of the weights left unexplained: {', '.join(loss_texts)}"
        outcome: Outcome = "budget"
        if not all(map(math.isfinite, last_losses)):
            outcome, message = "diverged", f"{message}; lower learning_rate (now {self.settings.learning_rate:g})"
            images, labels, restart = images[:0], labels[:0], restart[:0]
        elif collapsed:
            outcome = "collapsed" if len(collapsed) == len(last_losses) else "budget"
            message += f"; the multipliers of restart {', '.join(collapsed)} fell to zero: its images say nothing"
        return Reconstructions(images, labels, restart, outcome, history, message)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the search depends on."""
        return {
            "finished": self.finished,
            "losses": self.losses,
            "step": self.step,
            "images": self.images.detach(),
            "roots": self.roots.detach(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state of a checkpoint."""
        self.finished, self.losses = state["finished"], state["losses"]
        if len(self.finished) < self.settings.restarts:
            self._begin()
        self.step = state["step"]
        with torch.no_grad():
            self.images.copy_(state["images"])
            self.roots.copy_(state["roots"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _begin(self) -> None:
        """Begin the next restart."""
        first_images = self.starts[len(self.finished)]
        first_root = self.equations.root(first_images)
        self.images = first_images.clone().requires_grad_()
        self.roots = torch.full((len(first_images),), first_root, device=first_images.device).requires_grad_()
        self.first_rates = (self.settings.learning_rate, self.settings.multiplier_rate * first_root)
        self.optimizer = torch.optim.Adam([{"params": [self.images]}, {"params": [self.roots]}], fused=True)
        self.step = 0

    def _set_rates(self, step: int) -> None:
        decay = RATE_END + (1 - RATE_END) * (1 + math.cos(math.pi * self._progress(step))) / 2
        for group, first_rate in zip(self.optimizer.param_groups, self.first_rates, strict=True):
            group["lr"] = first_rate * decay

    def _sharpness(self, step: int) -> float:
        low, high = self.settings.sharpness
        return low * (high / low) ** self._progress(step)

    def _progress(self, step: int) -> float:
        """Return how far a restart has come: 0 in its first step, 1 in its last."""
        return step / max(1, self.settings.steps - 1)


class _Equations:
    """The stationarity conditions of a target, for images with these labels.

    ``scales`` are the fan-ins of the layers, by the name of each parameter that is read.
    """

    def __init__(self, target: Target, labels: Tensor) -> None:
        self.target, self.labels = target, labels.to(target.device)
        self.parameters: dict[str, Tensor] = {}
        for name, value in target.named_parameters():
            self.parameters[name] = value.detach().clone().requires_grad_()
        self.fan_ins: dict[str, int] = {}
        self.scales: dict[str, float] = {}
        for name, layer in layers(target).items():
            self.fan_ins[name] = fan_in(layer)
            for kind in ("weight", "bias"):
                if getattr(layer, kind) is not None:
                    self.scales[f"module.{name}.{kind}"] = float(self.fan_ins[name])
        self.read = [self.parameters[name] for name in self.scales]
        self.total = self._squared_length(self.read).detach()

    def loss(self, images: Tensor, roots: Tensor, sharpness: float) -> Tensor:
        """Return the share of the weights that the images leave unexplained."""
        with _SmoothReLU(sharpness):
            logits = functional_call(self.target, self.parameters, (images,))
        objective = (roots.square() * log_odds(logits, self.labels)).sum()
        gradients = torch.autograd.grad(objective, self.read, create_graph=True)
        unexplained = []
        for weight, gradient in zip(self.read, gradients, strict=True):
            unexplained.append(weight.detach() - gradient)
        return self._squared_length(unexplained) / self.total

    def root(self, images: Tensor) -> float:
        """Return the root of the multiplier at which the squared lengths of all images' gradients add up to theta's.

        A start from the projection of theta instead falls to zero in one search of three.
        """
        squares = squared_lengths(self.target, images, self.labels)
        lengths = []
        for name, scale in self.fan_ins.items():
            lengths.append(scale * float(squares[name].sum()))
        return (float(self.total) / max(sum(lengths), 1e-30)) ** 0.25

    def _squared_length(self, values: list[Tensor]) -> Tensor:
        squares = []
        for scale, value in zip(self.scales.values(), values, strict=True):
            squares.append(scale * value.square().sum())
        return torch.stack(squares).sum()


class _Prior:
    """weight * mean_i (x_i - m)' S^-1 (x_i - m) / pixels, for the mean and the ridged covariance of the reference."""

    def __init__(self, reference: Tensor, weight: float) -> None:
        pixels = reference.flatten(1).double()
        covariance = torch.cov(pixels.T)
        ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), device=reference.device)
        self.mean, self.weight = pixels.mean(0).float(), weight
        self.precision = torch.linalg.inv(covariance + ridge).float()

    def gradient(self, images: Tensor) -> Tensor:
        """Return the derivative by the images."""
        centred = images.flatten(1) - self.mean
        return (2 * self.weight / centred.numel() * centred @ self.precision).view_as(images)

    def linear(self, images: Tensor) -> Tensor:
        """Return a term for the loss that has this derivative and, being linear, costs no pass backwards."""
        return (self.gradient(images.detach()) * images).sum()


class _SmoothReLU(TorchFunctionMode):
    """Inside, every ReLU and leaky ReLU, called as a module or a function, has a smooth derivative."""

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.sharpness = sharpness

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (functional.relu, torch.relu, Tensor.relu):
            return _Rectified.apply(args[0], 0.0, self.sharpness)
        if func is functional.leaky_relu:
            slope = args[1] if len(args) > 1 else kwargs.get("negative_slope", 0.01)
            return _Rectified.apply(args[0], slope, self.sharpness)
        return func(*args, **kwargs)


class _Rectified(torch.autograd.Function):
    """(Leaky) ReLU with the derivative slope + (1 - slope) sigmoid(sharpness z / size); size = rms of the unit."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, slope: float, sharpness: float) -> Tensor:
        ctx.save_for_backward(inputs)
        ctx.slope, ctx.sharpness = slope, sharpness
        return torch.where(inputs > 0, inputs, slope * inputs) if slope else inputs.relu()

    @staticmethod
    def backward(ctx: Any, *derivatives: Tensor) -> tuple[Tensor, None, None]:
        (inputs,) = ctx.saved_tensors
        others = (0, 2, 3) if inputs.ndim == 4 else tuple(range(inputs.ndim - 1))
        size = inputs.detach().square().mean(others, keepdim=True).sqrt().clamp_min(1e-12)
        step = torch.sigmoid(ctx.sharpness / size * inputs)
        return derivatives[0] * (ctx.slope + (1 - ctx.slope) * step if ctx.slope else step), None, None


def _starts(target: Target, settings: KKTSettings, rng: torch.Generator, reference: Tensor | None) -> Tensor:
    """Return the first images of all restarts, (restarts, images, C, H, W): noise around the mean of the reference."""
    shape = target.spec.shape
    spread = settings.spread or min(0.3, 2.8 / min(shape[1:]))
    mean = torch.full(shape, 0.5) if reference is None else reference.float().mean(0).cpu()
    noise = torch.randn((settings.restarts, settings.images, *shape), generator=rng)
    return (mean + spread * noise).clamp(0, 1).to(target.device)


def _refuse(target: Target, reference: Tensor | None) -> None:
    for name, part in target.module.named_modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            raise ModelError(
                f"the target has batch norm ({name}), for which the KKT conditions do not hold; "
                "use method deepinversion or generator"
            )
    if reference is not None and (len(reference) < 2 or reference.shape[1:] != target.spec.shape):
        raise ShapeError(
            f"reference has shape {tuple(reference.shape)}, expected at least 2 images of {target.spec.shape}"
        )
    _first, *later_layers = layers(target).items()
    for name, layer in later_layers:
        if layer.bias is not None:
            _log.warning("layer %s has a bias: the network is not homogeneous, so KKT is a heuristic here", name)
            break
