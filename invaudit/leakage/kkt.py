"""KKT reconstruction: images whose gradients, with multipliers >= 0, add up to the weights of the target."""

import io
import logging
import math
import time
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from invaudit.leakage.gradients import fan_in, layers, log_odds, squared_lengths
from invaudit.leakage.reconstruction import Outcome, Reconstructions, balanced_labels
from invaudit.models import Target, frozen_eval
from invaudit.runtime.console import progress
from invaudit.runtime.errors import ModelError, RunFolderError, ShapeError
from invaudit.runtime.files import content_hash, write_bytes
from invaudit.runtime.settings import Settings

COLLAPSED = 0.97
"""Share of the weights left unexplained from which a restart counts as fallen to multipliers of zero."""

RATE_END = 0.02
"""Learning rates end at this share of their start (cosine)."""

RIDGE = 0.02
"""Added to the reference covariance, in multiples of its mean variance."""

_log = logging.getLogger(__name__)


class KKTSettings(Settings):
    """How images are searched; the defaults were chosen on targets of our own that share no seed with a report."""

    images: int = Field(default=80, ge=1)
    """Images of a restart: twice the number of members where that is known (n to 4n make no difference)."""

    restarts: int = Field(default=3, ge=1)
    """A candidate is to be scored by the mean over restarts of its best similarity: better than one longer run."""

    steps: int = Field(default=1500, ge=1)
    learning_rate: float = Field(default=0.02, gt=0)
    """Of Adam for the images."""

    multiplier_rate: float = Field(default=0.01, gt=0)
    """Of Adam for the roots of the multipliers, in multiples of their start."""

    sharpness: tuple[PositiveFloat, PositiveFloat] = (2.0, 50.0)
    """Of the smoothed derivative of ReLU, at the start and at the end of the run; geometric between."""

    prior: float = Field(default=0.01, ge=0)
    """Weight of the image prior; it needs reference images."""

    spread: float | None = Field(default=None, gt=0)
    """Standard deviation of the first images; None for 0.3 at a side of 8, falling to 0.1 at 28."""

    record_every: int = Field(default=250, ge=1)
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

    A small loss is no sign of a good reconstruction, and none is chosen by it: all restarts are kept, and a candidate
    is to be scored by the mean over restarts of its best similarity. The theory asks for a homogeneous network
    without biases beyond the first layer that was trained to the end; on others this is a heuristic, and is logged so.

    Args:
        target: Borrowed in eval mode: frozen, and given back as it was. Linear and convolutional layers are read.
        settings: How.
        rng: CPU generator of the first images of all restarts.
        reference: (M, C, H, W) in [0, 1], images like the members that hold no pool image; None goes without prior.
        checkpoint: File that is written at every record and continued from where it exists.

    Returns:
        ``images`` of each restart. The outcome is ``budget``; ``collapsed`` where in every restart the multipliers
        fell to zero; ``diverged`` where a loss was not finite. ``history`` holds ``loss/RESTART``, the loss above
        without the prior.

    Raises:
        ModelError: The target has batch norm, whose weights the conditions do not cover.
        ShapeError: The reference has images of another shape, or fewer than two.
        RunFolderError: The checkpoint belongs to another search.

    Source: Haim et al. (arXiv 2206.07758, Eq. 5 to 8) for two classes, Buzaglo et al. (arXiv 2307.01827, section 4)
    for more. Ours are the logsumexp in the log-odds (theirs takes the largest other logit), the weights of the layers,
    the smoothing relative to the size of a unit and its schedule, the prior, the start of the multipliers, and Adam.
    """
    start = time.perf_counter()
    _refuse(target, reference)
    identity = content_hash(
        settings.model_dump_json(), target.hash, rng.get_state().numpy().tobytes(), _bytes(reference)
    )
    with frozen_eval(target):
        search = _Search(target, settings, rng, reference)
        if checkpoint and checkpoint.is_file():
            search.resume(checkpoint, identity)
        records = range(search.recorded, settings.restarts * search.records_each)
        for _ in progress(records, total=len(records), label="KKT reconstruction"):
            search.advance()
            if checkpoint:
                search.save(checkpoint, identity)
    return search.result(time.perf_counter() - start)


class _Search:
    """The state of a search: finished restarts, and the one that runs."""

    def __init__(self, target: Target, settings: KKTSettings, rng: torch.Generator, reference: Tensor | None) -> None:
        self.settings, self.labels = settings, balanced_labels(target.classes, settings.images)
        self.equations = _Equations(target, self.labels)
        self.prior = _Prior(reference.to(target.device), settings.prior) if reference is not None else None
        self.starts = _starts(target, settings, rng, reference)
        self.records_each = math.ceil(settings.steps / settings.record_every)
        self.finished: list[Tensor] = []
        self.losses: list[list[float]] = []
        self.step = 0
        self._begin()

    @property
    def recorded(self) -> int:
        """Number of records so far, over all restarts."""
        return sum(len(losses) for losses in self.losses)

    def advance(self) -> None:
        """Take the steps to the next record; a restart that is done makes room for the next."""
        settings = self.settings
        if self.step == settings.steps:
            self._begin()
        if not self.step:
            self.losses.append([])
        loss = torch.zeros(())
        for step in range(self.step, min(self.step + settings.record_every, settings.steps)):
            share = step / max(1, settings.steps - 1)
            rate = RATE_END + (1 - RATE_END) * (1 + math.cos(math.pi * share)) / 2
            for group, first in zip(self.optimizer.param_groups, self._rates(), strict=True):
                group["lr"] = first * rate
            low, high = settings.sharpness
            loss = self.equations.loss(self.images, self.roots, low * (high / low) ** share)
            # Fused Adam reads memory in order, so a gradient must be laid out as what it is of.
            slopes = torch.autograd.grad(loss, [self.images, self.roots])
            self.images.grad, self.roots.grad = (slope.contiguous() for slope in slopes)
            if self.prior:
                self.images.grad += self.prior.gradient(self.images.detach())
            self.optimizer.step()
            with torch.no_grad():
                self.images.clamp_(0, 1)
            self.step = step + 1
        self.losses[-1].append(float(loss.detach()))
        if self.step == settings.steps:
            self.finished.append(self.images.detach().cpu())

    def result(self, seconds: float) -> Reconstructions:
        """Return the images of all restarts and how they ended."""
        last = [losses[-1] for losses in self.losses]
        fallen = [str(restart) for restart, loss in enumerate(last) if loss >= COLLAPSED]
        restart = torch.arange(len(last)).repeat_interleave(len(self.labels))
        labels, images = self.labels.repeat(len(last)), torch.cat(self.finished)
        message = f"share of the weights left unexplained: {', '.join(f'{loss:.3f}' for loss in last)}"
        outcome: Outcome = "budget"
        if not all(math.isfinite(loss) for loss in last):
            outcome, message = "diverged", f"{message}; lower learning_rate (now {self.settings.learning_rate:g})"
            images, labels, restart = images[:0], labels[:0], restart[:0]
        elif fallen:
            outcome = "collapsed" if len(fallen) == len(last) else "budget"
            message += f"; the multipliers of restart {', '.join(fallen)} fell to zero: its images say nothing"
        history = {f"loss/{number}": losses for number, losses in enumerate(self.losses)}
        return Reconstructions(images, labels, restart, outcome, history, message, seconds)

    def save(self, path: Path, identity: str) -> None:
        """Write the state."""
        buffer = io.BytesIO()
        state = {"identity": identity, "finished": self.finished, "losses": self.losses, "step": self.step}
        state |= {"images": self.images.detach(), "roots": self.roots.detach()}
        torch.save({**state, "optimizer": self.optimizer.state_dict()}, buffer)
        write_bytes(path, buffer.getvalue())

    def resume(self, path: Path, identity: str) -> None:
        """Take the state of a checkpoint.

        Raises:
            RunFolderError: It belongs to another search.
        """
        saved = torch.load(path, weights_only=True, map_location="cpu")
        if saved.get("identity") != identity:
            raise RunFolderError(f"{path} is the checkpoint of another search; remove it or choose another --out")
        self.finished, self.losses = saved["finished"], saved["losses"]
        if len(self.finished) < self.settings.restarts:
            self._begin()
        self.step = saved["step"]
        with torch.no_grad():
            self.images.copy_(saved["images"])
            self.roots.copy_(saved["roots"])
        self.optimizer.load_state_dict(saved["optimizer"])

    def _begin(self) -> None:
        images = self.starts[len(self.finished)]
        self.root = self.equations.root(images)
        self.images = images.clone().requires_grad_()
        self.roots = torch.full((len(images),), self.root, device=images.device).requires_grad_()
        self.optimizer = torch.optim.Adam([{"params": [self.images]}, {"params": [self.roots]}], fused=True)
        self.step = 0

    def _rates(self) -> tuple[float, float]:
        return self.settings.learning_rate, self.settings.multiplier_rate * self.root


class _Equations:
    """The stationarity conditions of a target, for images with these labels."""

    def __init__(self, target: Target, labels: Tensor) -> None:
        self.target, self.labels = target, labels.to(target.device)
        self.parameters = {name: value.detach().clone().requires_grad_() for name, value in target.named_parameters()}
        found = layers(target).items()
        self.scales = {
            f"module.{name}.{kind}": float(fan_in(layer))
            for name, layer in found
            for kind in ("weight", "bias")
            if getattr(layer, kind) is not None
        }
        self.layers = {name: fan_in(layer) for name, layer in found}
        self.read = [self.parameters[name] for name in self.scales]
        self.total = self._square(self.read).detach()

    def loss(self, images: Tensor, roots: Tensor, sharpness: float) -> Tensor:
        """Return the share of the weights that the images leave unexplained."""
        with _SmoothReLU(sharpness):
            logits = functional_call(self.target, self.parameters, (images,))
        objective = (roots.square() * log_odds(logits, self.labels)).sum()
        gradients = torch.autograd.grad(objective, self.read, create_graph=True)
        return self._square([old.detach() - new for old, new in zip(self.read, gradients, strict=True)]) / self.total

    def root(self, images: Tensor) -> float:
        """Return the root of the multiplier at which the squared lengths of all images' gradients add up to theta's.

        A start from the projection of theta instead falls to zero in one search of three.
        """
        squares = squared_lengths(self.target, images, self.labels)
        length = sum(scale * float(squares[name].sum()) for name, scale in self.layers.items())
        return (float(self.total) / max(length, 1e-30)) ** 0.25

    def _square(self, values: list[Tensor]) -> Tensor:
        pairs = zip(self.scales.values(), values, strict=True)
        return torch.stack([scale * value.square().sum() for scale, value in pairs]).sum()


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
        unit = 1 if inputs.ndim == 4 else inputs.ndim - 1
        others = [axis for axis in range(inputs.ndim) if axis != unit]
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
    kinds = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
    normed = [name for name, part in target.module.named_modules() if isinstance(part, kinds)]
    if normed:
        raise ModelError(
            f"the target has batch norm ({normed[0]}), for which the KKT conditions do not hold; "
            "use method deepinversion or generator"
        )
    if reference is not None and (len(reference) < 2 or reference.shape[1:] != target.spec.shape):
        raise ShapeError(
            f"reference has shape {tuple(reference.shape)}, expected at least 2 images of {target.spec.shape}"
        )
    biases = [name for name, layer in list(layers(target).items())[1:] if layer.bias is not None]
    if biases:
        _log.warning("layer %s has a bias: the network is not homogeneous, so KKT is a heuristic here", biases[0])


def _bytes(reference: Tensor | None) -> bytes:
    return b"" if reference is None else reference.cpu().contiguous().numpy().tobytes()
