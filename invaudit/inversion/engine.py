"""The engine: trains a generator against a frozen target, by one loop for single inversions and for the cycle."""

import io
import logging
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invaudit.data import seeded_rng
from invaudit.inversion.conditions import Condition, move
from invaudit.inversion.diagnostics import spread
from invaudit.inversion.generators import build_generator
from invaudit.inversion.objectives import OBJECTIVES
from invaudit.inversion.observing import observed, unserved
from invaudit.inversion.results import SAMPLED_AT_ONCE, Evaluation, Inversion, Outcome, draw, draw_condition
from invaudit.inversion.settings import InversionSettings
from invaudit.models import Target, autocast, frozen_eval, resolve_precision, seed_torch
from invaudit.runtime.console import progress
from invaudit.runtime.errors import RunFolderError, SettingError
from invaudit.runtime.files import content_hash, write_bytes
from invaudit.runtime.settings import load_config

PAIRS = 4
"""Images of one class that a batch holds at least, so that the objectives over pairs of one class have some."""
_log = logging.getLogger(__name__)


@dataclass
class _Run:
    """State of one run between evaluations."""

    done: int = 0
    history: list[Evaluation] = field(default_factory=list)
    best: Evaluation | None = None
    best_state: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


class Inverter:
    """A generator with its optimiser, kept warm between runs against a target that may change.

    Args:
        settings: How to train it.
        target: What it will be trained against: gives image shape, classes and device.
        rng: CPU generator of initial weights and all later draws; the caller keeps its state for a checkpoint.
        start: Generator of the same settings whose weights to start from.
        centre: (C, H, W), the mean of reference images, for the objective ``distance``.

    Raises:
        SettingError: The target's images are too small, or ``start`` does not fit.
    """

    def __init__(
        self,
        settings: InversionSettings,
        target: Target,
        rng: torch.Generator,
        *,
        start: nn.Module | None = None,
        centre: Tensor | None = None,
    ) -> None:
        self.settings, self.classes, self.rng = settings, target.classes, rng
        with seed_torch(rng):
            self.generator = build_generator(
                settings.generator,
                target.spec.shape,
                target.classes,
                mode=settings.mode,
                noise=settings.noise,
                dropout=settings.dropout,
            )
        if start is not None:
            try:
                self.generator.load_state_dict(start.state_dict())
            except RuntimeError as error:
                raise SettingError("start is a generator of other settings or of another target") from error
        self.generator.to(target.device).eval()
        self.optimizer = torch.optim.Adam(
            self.generator.parameters(), settings.learning_rate, settings.betas, fused=True
        )
        self.centre = None if centre is None else centre.to(target.device)
        wanted = {name: weight for name, weight in settings.weights.items() if weight}
        self.skipped = {name: reason for name, reason in unserved(target, centre).items() if name in wanted}
        self.weights = {name: weight for name, weight in wanted.items() if name not in self.skipped}
        self.last: Inversion | None = None

    def run(
        self, target: Target, steps: int | None = None, *, checkpoint: Path | None = None, watch: bool = False
    ) -> Inversion:
        """Train the generator against a target as it is now, and keep its best state.

        The best state has the highest accuracy in its worst class, up to the wanted one; among equals the smallest
        loss.

        Args:
            target: Is borrowed: frozen, in eval mode, and given back as it was.
            steps: Optimiser steps; by default those of the settings.
            checkpoint: File that is written after every evaluation and continued from where it exists.
            watch: Show progress.

        Raises:
            RunFolderError: The checkpoint belongs to another inversion.
        """
        steps = steps or self.settings.steps
        before = deepcopy(self.state_dict())
        identity = self._identity(target, steps) if checkpoint else ""
        run = self._resumed(checkpoint, identity) if checkpoint else _Run()
        parts = range(run.done, steps, self.settings.eval_every)
        with frozen_eval(target):
            for start in progress(parts, total=len(parts), label="inverting") if watch else parts:
                if run.problem:
                    break
                self._advance(target, run, min(self.settings.eval_every, steps - start))
                if checkpoint:
                    self._save(checkpoint, identity, run)
        if run.problem:
            self.load_state_dict(before)
        else:
            self.generator.load_state_dict(run.best_state)
        end = self._end(run)
        self.last = Inversion(deepcopy(self.generator), self.settings, self.classes, tuple(run.history), *end)
        return self.last

    def sample(self, wanted: Tensor | Condition, rng: torch.Generator) -> Tensor:
        """Draw inversions (N, C, H, W) in [0, 1] on the CPU from the last run, as ``Inversion.sample``.

        Raises:
            SettingError: There was no run yet, or it diverged.
        """
        if self.last is None:
            raise SettingError("the generator is untrained; call run first")
        return self.last.sample(wanted, rng)

    def state_dict(self) -> dict[str, Any]:
        """Return generator and optimiser for a checkpoint."""
        return {"generator": self.generator.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state of a checkpoint."""
        self.generator.load_state_dict(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _advance(self, target: Target, run: _Run, steps: int) -> None:
        self.generator.train()
        scale = torch.tensor(list(self.weights.values()), device=target.device)
        precision = resolve_precision(self.settings.precision, target.device)
        observing = observed(
            target, self.weights, perturbation=self.settings.perturbation, precision=precision, centre=self.centre
        )
        rows = []
        with seed_torch(self.rng), observing as observe:
            for _ in range(steps):
                noise, condition = self._batch(target.device)
                with autocast(target.device, precision):
                    images = self.generator(noise, condition)
                step = observe(images, condition)
                terms = torch.stack([OBJECTIVES[name](step) for name in self.weights])
                self.optimizer.zero_grad(set_to_none=True)
                (terms * scale).sum().backward()
                self.optimizer.step()
                rows.append(terms.detach())
        self.generator.eval()
        # The first look at a number: until here the host has not waited for the device.
        self._evaluate(target, run, torch.stack(rows).double().cpu())

    def _batch(self, device: torch.device) -> tuple[Tensor, Condition]:
        settings, n = self.settings, self.settings.batch_size
        present = min(self.classes, max(1, n // PAIRS))
        labels = torch.randperm(self.classes, generator=self.rng)[torch.arange(n) % present]
        condition = draw_condition(settings, self.classes, labels, self.rng)
        return move(torch.randn((n, settings.noise), generator=self.rng), device), condition.to(device)

    def _evaluate(self, target: Target, run: _Run, terms: Tensor) -> None:
        settings = self.settings
        broken = (~terms.isfinite()).nonzero()
        run.done += len(terms)
        if len(broken):
            step, which = run.done - len(terms) + int(broken[0, 0]) + 1, list(self.weights)[int(broken[0, 1])]
            run.problem = f"objective {which} was not finite in step {step}"
            return
        labels = torch.arange(self.classes).repeat_interleave(settings.eval_images)
        images = draw(self.generator, settings, self.classes, labels, self.rng)
        if not images.isfinite().all():
            run.problem = f"the weights of the generator were not finite after step {run.done}"
            return
        with torch.no_grad():
            found = torch.cat([target(part.to(target.device)).argmax(1) for part in images.split(SAMPLED_AT_ONCE)])
        hits = (found.cpu() == labels).double().view(self.classes, -1).mean(1)
        means = dict(zip(self.weights, terms.mean(0).tolist(), strict=True))
        evaluation = Evaluation(
            run.done,
            sum(weight * means[name] for name, weight in self.weights.items()),
            means,
            tuple(hits.tolist()),
            tuple(spread(images, labels, self.classes).tolist()),
        )
        run.history.append(evaluation)
        if run.best is None or self._rank(evaluation) >= self._rank(run.best):
            run.best, run.best_state = evaluation, deepcopy(self.generator.state_dict())

    def _rank(self, evaluation: Evaluation) -> tuple[float, float]:
        return min(*evaluation.accuracy, self.settings.wanted_accuracy), -evaluation.loss

    def _end(self, run: _Run) -> tuple[Outcome, str]:
        settings, best = self.settings, run.best
        if run.problem or best is None:
            remedy = f"lower learning_rate (now {settings.learning_rate:g}) or check the target"
            return "diverged", f"{run.problem}; {remedy}"
        worst = min(best.accuracy)
        text = f"inversion accuracy {worst:.1%} in the worst class after {best.step} steps"
        text += "".join(f"; objective {name} skipped, {reason}" for name, reason in self.skipped.items())
        copies = [str(label) for label, value in enumerate(best.spread) if value < settings.least_spread]
        if copies:
            found = f"inversions of class {', '.join(copies)} are copies of one image"
            return "collapsed", f"{text}; {found}: give cosine more weight, or more steps"
        if worst < settings.wanted_accuracy:
            return "budget", f"{text}; under the {settings.wanted_accuracy:.1%} wanted: give more steps"
        return "converged", text

    def _identity(self, target: Target, steps: int) -> str:
        centre = b"" if self.centre is None else self.centre.cpu().numpy().tobytes()
        start = b"".join(value.cpu().numpy().tobytes() for value in self.generator.state_dict().values())
        drawn = self.rng.get_state().numpy().tobytes()
        return content_hash(self.settings.model_dump_json(), target.hash, str(steps), drawn, centre, start)

    def _save(self, path: Path, identity: str, run: _Run) -> None:
        buffer = io.BytesIO()
        state = {"identity": identity, "rng": self.rng.get_state(), "inverter": self.state_dict(), "run": asdict(run)}
        torch.save(state, buffer)
        write_bytes(path, buffer.getvalue())

    def _resumed(self, path: Path, identity: str) -> _Run:
        if not path.is_file():
            return _Run()
        saved = torch.load(path, weights_only=True, map_location="cpu")
        if saved.get("identity") != identity:
            raise RunFolderError(f"{path} is the checkpoint of another inversion; remove it or choose another --out")
        self.load_state_dict(saved["inverter"])
        self.rng.set_state(saved["rng"])
        found = _Run(**saved["run"])
        found.history = [Evaluation(**one) for one in saved["run"]["history"]]
        found.best = Evaluation(**saved["run"]["best"]) if saved["run"]["best"] else None
        return found


def invert(
    target: Target,
    settings: InversionSettings | None = None,
    rng: torch.Generator | None = None,
    *,
    seed: int = 0,
    start: nn.Module | None = None,
    checkpoint: Path | None = None,
) -> Inversion:
    """Train one generator against a target.

    Args:
        target: Is borrowed: frozen, in eval mode, and given back as it was.
        settings: How; by default as the shipped config ``invert/default`` says.
        rng: CPU generator of everything random; by default made from ``seed``, as ``invaudit invert`` does.
        seed: Seed where no ``rng`` is given.
        start: Generator of the same settings whose weights to start from (``Inversion.generator``).
        checkpoint: File that is written after every evaluation and continued from where it exists.

    Raises:
        SettingError: The target's images are too small, or ``start`` does not fit.
        RunFolderError: The checkpoint belongs to another inversion.

    References: arXiv 2411.17777.

    >>> from invaudit.models import InputSpec, Target, build
    >>> spec = InputSpec(channels=1, height=8, width=8)
    >>> target = Target(build("small-cnn", spec, 10), spec, classes=10)
    >>> inversion = invert(target, InversionSettings(steps=5), seed=0)
    >>> wanted = torch.tensor([3, 3, 7])
    >>> inversion.sample(wanted, torch.Generator().manual_seed(0)).shape
    torch.Size([3, 1, 8, 8])
    """
    settings = settings or load_config(InversionSettings, "invert/default")
    rng = rng or seeded_rng(seed, "invert")
    inversion = Inverter(settings, target, rng, start=start).run(target, checkpoint=checkpoint, watch=True)
    log = _log.info if inversion.outcome == "converged" else _log.warning
    log("inversion %s: %s", inversion.outcome, inversion.message)
    return inversion
