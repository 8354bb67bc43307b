"""The engine: trains a generator against a frozen target, by one loop for single inversions and for the cycle."""

from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from invaudit.inversion.conditions import Condition, move
from invaudit.inversion.diagnostics import spread
from invaudit.inversion.generators import build_generator
from invaudit.inversion.observing import observed, serve
from invaudit.inversion.outcome import Outcome
from invaudit.inversion.results import SAMPLED_AT_ONCE, Evaluation, Inversion, draw, draw_condition
from invaudit.inversion.settings import InversionSettings, set_rate
from invaudit.inversion.views import Viewed
from invaudit.models import Target, frozen_eval
from invaudit.models.checkpoints import Checkpoint
from invaudit.models.devices import autocast, resolve_precision, seed_torch
from invaudit.runtime.console import progress
from invaudit.runtime.errors import SettingError
from invaudit.runtime.files import content_hash

PAIRS = 4
"""Fewest images of each class in a batch, so that the objectives over pairs of one class have pairs."""


@dataclass
class _Run:
    """The state of one run between evaluations: steps done, evaluations, the best one, and what went wrong."""

    done: int = 0
    history: list[Evaluation] = field(default_factory=list)
    best: Evaluation | None = None
    best_state: dict[str, Any] = field(default_factory=dict)
    problem: str = ""

    @classmethod
    def restored(cls, values: dict[str, Any]) -> "_Run":
        """Return the run of which a checkpoint holds the values (``dataclasses.asdict``)."""
        run = cls(**values)
        run.history = [Evaluation(**evaluation) for evaluation in values["history"]]
        run.best = Evaluation(**values["best"]) if values["best"] else None
        return run


class Inverter:
    """A generator with its optimiser, kept warm between runs against a target that may change.

    Args:
        settings: How to train it.
        target: The classifier it will be trained against: gives image shape, classes and device.
        rng: CPU generator of initial weights and all later draws; the caller keeps its state for a checkpoint.
        centre: (C, H, W), the mean of reference images, for the objective ``distance``.

    Raises:
        SettingError: The target's images are too small.
    """

    def __init__(
        self,
        settings: InversionSettings,
        target: Target,
        rng: torch.Generator,
        *,
        centre: Tensor | None = None,
    ) -> None:
        self.settings, self.classes, self.rng = settings, target.classes, rng
        with seed_torch(rng):
            self.generator = build_generator(
                settings.generator,
                settings.canvas(target.spec.shape),
                target.classes,
                mode=settings.mode,
                noise=settings.noise,
                dropout=settings.dropout,
            )
        if settings.has_views:
            self.generator = Viewed(self.generator, settings, target.spec.shape)
        self.generator.to(target.device).eval()
        self.optimizer = torch.optim.Adam(
            self.generator.parameters(), settings.learning_rate, settings.betas, fused=True
        )
        self.centre = None if centre is None else centre.to(target.device)
        self.objectives = serve(settings.weights, target, centre)
        self.last: Inversion | None = None

    def run(
        self, target: Target, steps: int | None = None, *, checkpoint: Path | None = None, watch: bool = False
    ) -> Inversion:
        """Train the generator against a target as it is now, and keep its best state.

        Where the learning rate falls to 0, the last state is kept. Else the one with the highest accuracy in its worst
        class, up to the wanted one, and the smallest loss among equals.

        Args:
            target: Is borrowed: frozen, in eval mode, and given back as it was.
            steps: Optimiser steps; by default those of the settings.
            checkpoint: File that is written after every evaluation; where it exists, the run goes on from it.
            watch: Show progress.

        Raises:
            RunFolderError: The checkpoint belongs to another inversion.
        """
        steps = steps or self.settings.steps
        before = deepcopy(self.state_dict())
        file = None if checkpoint is None else Checkpoint(checkpoint, self._identity(target, steps), "inversion")
        run = _Run() if file is None else self._resume(file)
        starts = range(run.done, steps, self.settings.eval_every)
        with frozen_eval(target):
            for start in progress(starts, total=len(starts), label="inverting") if watch else starts:
                if run.problem:
                    break
                self._advance(target, run, range(start, min(start + self.settings.eval_every, steps)), steps)
                if file is not None:
                    file.save({"rng": self.rng.get_state(), "inverter": self.state_dict(), "run": asdict(run)})
        if run.problem:
            self.load_state_dict(before)
        else:
            self.generator.load_state_dict(run.best_state)
        outcome, message = self._outcome(run)
        generator = deepcopy(self.generator)
        self.last = Inversion(generator, self.settings, self.classes, tuple(run.history), outcome, message)
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

    def _advance(self, target: Target, run: _Run, steps: range, total: int) -> None:
        self.generator.train()
        objectives, scale = self.objectives, self.objectives.scale(target.device)
        precision = resolve_precision(self.settings.precision, target.device)
        observing = observed(
            target, objectives.weights, perturbation=self.settings.perturbation, precision=precision, centre=self.centre
        )
        terms_by_step = []
        with seed_torch(self.rng), observing as observe:
            for step in steps:
                set_rate(self.optimizer, self.settings.schedule, self.settings.learning_rate, step, total)
                noise, condition = self._batch(target.device)
                with autocast(target.device, precision):
                    images = self.generator(noise, condition)
                terms = objectives.terms(observe(images, condition))
                self.optimizer.zero_grad(set_to_none=True)
                (terms * scale).sum().backward()
                self.optimizer.step()
                terms_by_step.append(terms.detach())
        self.generator.eval()
        # The first look at a number: until here the host has not waited for the device.
        self._evaluate(target, run, torch.stack(terms_by_step).double().cpu())

    def _batch(self, device: torch.device) -> tuple[Tensor, Condition]:
        settings, n = self.settings, self.settings.batch_size
        classes_in_batch = min(self.classes, max(1, n // PAIRS))
        labels = torch.randperm(self.classes, generator=self.rng)[torch.arange(n) % classes_in_batch]
        condition = draw_condition(settings, self.classes, labels, self.rng)
        return move(torch.randn((n, settings.noise), generator=self.rng), device), condition.to(device)

    def _evaluate(self, target: Target, run: _Run, terms: Tensor) -> None:
        """Add the evaluation after these steps, terms (steps, objectives), to a run, or the problem that they show."""
        settings, weights = self.settings, self.objectives.weights
        not_finite = (~terms.isfinite()).nonzero()
        run.done += len(terms)
        if len(not_finite):
            row, column = not_finite[0].tolist()
            step = run.done - len(terms) + row + 1
            run.problem = f"objective {list(weights)[column]} was not finite in step {step}"
            return
        labels = torch.arange(self.classes).repeat_interleave(settings.eval_images)
        images = draw(self.generator, settings, self.classes, labels, self.rng)
        if not images.isfinite().all():
            run.problem = f"the weights of the generator were not finite after step {run.done}"
            return
        hits = (self._predictions(target, images) == labels).double().view(self.classes, -1).mean(1)
        means = dict(zip(weights, terms.mean(0).tolist(), strict=True))
        weighted = [weight * means[name] for name, weight in weights.items()]
        evaluation = Evaluation(
            step=run.done,
            loss=sum(weighted),
            objectives=means,
            accuracy=tuple(hits.tolist()),
            spread=tuple(spread(images, labels, self.classes).tolist()),
        )
        run.history.append(evaluation)
        if run.best is None or self._rank(evaluation) >= self._rank(run.best):
            run.best, run.best_state = evaluation, deepcopy(self.generator.state_dict())

    @torch.no_grad()
    def _predictions(self, target: Target, images: Tensor) -> Tensor:
        batches = images.split(SAMPLED_AT_ONCE)
        return torch.cat([target(batch.to(target.device)).argmax(1) for batch in batches]).cpu()

    def _rank(self, evaluation: Evaluation) -> tuple[float, float]:
        if self.settings.schedule == "cosine":
            # An early state may have its class and be half finished: the last steps are the finest ones.
            return evaluation.step, 0.0
        return min(*evaluation.accuracy, self.settings.wanted_accuracy), -evaluation.loss

    def _outcome(self, run: _Run) -> tuple[Outcome, str]:
        """Return how a run ended, in one word and in a sentence."""
        settings, best = self.settings, run.best
        if run.problem or best is None:
            remedy = f"lower learning_rate (now {settings.learning_rate:g}) or check the target"
            return "diverged", f"{run.problem}; {remedy}"
        worst_accuracy = min(best.accuracy)
        message = f"inversion accuracy {worst_accuracy:.1%} in the worst class after {best.step} steps"
        message += self.objectives.skipped_note
        copied: list[str] = []
        for label, class_spread in enumerate(best.spread):
            if class_spread < settings.least_spread:
                copied.append(str(label))
        if copied:
            message += f"; inversions of class {', '.join(copied)} are copies of one image"
            return "collapsed", f"{message}: give cosine more weight, or more steps"
        if worst_accuracy < settings.wanted_accuracy:
            return "budget", f"{message}; under the {settings.wanted_accuracy:.1%} wanted: give more steps"
        return "converged", message

    def _identity(self, target: Target, steps: int) -> str:
        centre = b"" if self.centre is None else self.centre.cpu().numpy().tobytes()
        start = b"".join(value.cpu().numpy().tobytes() for value in self.generator.state_dict().values())
        rng_state = self.rng.get_state().numpy().tobytes()
        return content_hash(self.settings.model_dump_json(), target.hash, str(steps), rng_state, centre, start)

    def _resume(self, file: Checkpoint) -> _Run:
        """Take the state of a checkpoint, if there is one; return the run so far."""
        saved = file.load()
        if saved is None:
            return _Run()
        self.load_state_dict(saved["inverter"])
        self.rng.set_state(saved["rng"])
        return _Run.restored(saved["run"])
