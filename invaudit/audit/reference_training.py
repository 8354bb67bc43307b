"""The training of reference models: networks like the target, each on a random half of the data.

Where the data hold the pool, a fair coin for each image and each reference decides whether that reference is trained on
it, so that of every image there are references of both kinds. Other data leave the pool unseen.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path

import numpy as np
import torch

from invaudit.data import ImageSet, seeded_rng
from invaudit.models import Target, TrainingSettings, accuracy, collect, load_model, save_target, train
from invaudit.models.devices import resolve_precision
from invaudit.models.settings import code_hashes
from invaudit.models.training import chance_limit
from invaudit.models.twins import untrained_twin
from invaudit.runtime.console import notice
from invaudit.runtime.errors import DataError, ModelError, SettingError, ShapeError
from invaudit.runtime.files import content_hash
from invaudit.runtime.paths import is_file
from invaudit.runtime.seeds import child_seed

FEWEST_IMAGES = 20
"""Different images that the training of references takes at least: a coin decides on each."""
LOOKED_AT = 1_000
"""Training images on which the accuracy of a reference, and the a of RMIA, are measured, evenly spread."""
CHANCE_SPREADS = 3
"""Standard deviations over the accuracy of guessing, up to which a reference has learned nothing."""
TIMED_STEPS = 4
"""Steps that are timed for the price, after a first one."""


@dataclass(frozen=True, eq=False)
class Trainings:
    """The trainings of the references of one target: their coins, their files, and how to go on with them.

    Attributes:
        target: The audited model.
        data: The images on which coins decide.
        n: Number of references.
        settings: How each is trained.
        seed: Seed of coins and trainings.
        folder: Where the networks are kept.
    """

    target: Target
    data: ImageSet
    n: int
    settings: TrainingSettings
    seed: int
    folder: Path

    def __post_init__(self) -> None:
        """Refuse what no training can begin with."""
        if self.n < 1:
            raise SettingError(f"{self.n} references, expected at least 1")
        if len(self._contents) < FEWEST_IMAGES:
            raise DataError(
                f"{self.data.name} leaves {len(self._contents)} different images to train references on, expected at "
                f"least {FEWEST_IMAGES}; give more data"
            )
        self._untrained(0)

    @cached_property
    def _hashes(self) -> list[bytes]:
        return self.data.image_hashes()

    @cached_property
    def _contents(self) -> list[bytes]:
        """The different images, in an order of their own: copies of an image share its coin."""
        return sorted(set(self._hashes))

    def trained_on(self, index: int) -> set[bytes]:
        """Return the hashes of the images that a reference is trained on: an independent fair coin for each."""
        rng = np.random.default_rng(child_seed(self.seed, "references/coins", index))
        coins = rng.integers(2, size=len(self._contents), dtype=np.uint8)
        return {content for content, coin in zip(self._contents, coins, strict=True) if coin}

    def networks(self) -> Iterator[Target]:
        """Yield each reference, trained here or read from its file."""
        for index in range(self.n):
            path = self._path(index)
            if not is_file(path, DataError):
                self._train(index, path)
            yield load_model(path, arch=self.target.arch).to(self.target.device)

    @property
    def missing(self) -> int:
        """Number of references that have no file yet."""
        return sum(not is_file(self._path(index), DataError) for index in range(self.n))

    def price_s(self) -> float:
        """Return about how many seconds the missing ones will take; a few steps are timed for it."""
        return self.missing * self._seconds_each() if self.missing else 0.0

    def announce(self) -> None:
        """Say what the trainings that are not done yet will cost."""
        if self.missing:
            notice(
                f"training {self.missing} reference model(s), each on about {len(self.data) // 2} images for "
                f"{self.settings.epochs} epochs: about {max(self.price_s() / 60, 0.1):.1f} minutes"
            )

    def _seconds_each(self) -> float:
        """Return about how long one training takes, from a few steps of a network that is thrown away."""
        sample = self.data.subset(slice(TIMED_STEPS * self.settings.batch_size))
        epochs = ceil((TIMED_STEPS + 1) / self.settings.steps_per_epoch(len(sample)))
        settings = self.settings.model_copy(update={"epochs": epochs})
        stamps: list[float] = []

        def stamp(_steps: int) -> None:
            stamps.append(time.perf_counter())

        rng = seeded_rng(self.seed, "references/price")
        train(self._untrained(0), sample, settings, rng, precision=self._precision, after_step=stamp)
        steps = self.settings.epochs * self.settings.steps_per_epoch(len(self.data) // 2)
        return float(np.median(np.diff(stamps))) * steps

    def _train(self, index: int, path: Path) -> None:
        trained_on = self.trained_on(index)
        chosen = torch.tensor([one in trained_on for one in self._hashes])
        images = self.data.subset(chosen)
        rng = seeded_rng(self.seed, "references/training", index)
        checkpoint = path.with_suffix(".pt")
        reference = self._untrained(index)
        train(reference, images, self.settings, rng, precision=self._precision, checkpoint=checkpoint)
        share = _share_right(reference, images)
        others = _share_right(reference, self.data.subset(~chosen))
        if share < chance_limit(reference.classes, min(len(images), LOOKED_AT), spreads=CHANCE_SPREADS):
            checkpoint.unlink()
            raise ModelError(
                f"reference model {index + 1} gets {share:.1%} of the images right that it was trained on, no better "
                f"than guessing; change learning_rate (now {self.settings.learning_rate:g}) or give more epochs"
            )
        save_target(reference, path)
        checkpoint.unlink()
        notice(
            f"reference model {index + 1} of {self.n}: {share:.1%} of its training images right, {others:.1%} of others"
        )

    def _untrained(self, index: int) -> Target:
        twin = untrained_twin(self.target, seeded_rng(self.seed, "references/weights", index))
        return twin.to(self.target.device)

    @property
    def _precision(self) -> torch.dtype:
        return resolve_precision(self.settings.precision, self.target.device)

    def _path(self, index: int) -> Path:
        """Return the file of a reference, which names all that it comes from: other settings are other files."""
        target = self.target
        identity = content_hash(
            str(target.arch),
            repr(target.spec),
            str(target.outputs),
            repr(target.settings),
            *code_hashes(target.arch),
            self.settings.model_dump_json(),
            str(self._precision),
            self.data.hash,
            str(self.seed),
        )
        return self.folder / f"reference-{index}-{identity[:16]}.safetensors"


def usable_images(target: Target, data: ImageSet, pool: ImageSet, population: ImageSet | None) -> ImageSet:
    """Return the images that references may be trained on."""
    if data.shape != target.spec.shape:
        raise ShapeError(f"{data.name} has images of {data.shape}, the model takes {target.spec.shape}; resize them")
    if int(data.labels.min()) < 0 or int(data.labels.max()) >= target.classes:
        raise DataError(
            f"{data.name} has labels from {int(data.labels.min())} to {int(data.labels.max())}, expected 0 to "
            f"{target.classes - 1}: the classes of the model"
        )
    hashes = data.image_hashes()
    in_data, of_pool = set(hashes), set(pool.image_hashes())
    left_out = set() if population is None else set(population.image_hashes())
    if not of_pool <= in_data:
        left_out |= of_pool
        if found := len(of_pool & in_data):
            notice(
                f"{data.name} holds {found} of the {len(of_pool)} tested images: these are left out of the training of "
                "references, since it must not tell members from controls; give data with all of them for lira-online"
            )
    kept = torch.tensor([one not in left_out for one in hashes])
    if not kept.any():
        raise DataError(f"{data.name} holds no image to train references on beside the tested ones; give more data")
    return data if kept.all() else data.subset(kept)


def _share_right(reference: Target, images: ImageSet) -> float:
    some = images.spread(LOOKED_AT)
    logits = collect(reference, some, keep_maps=False).logits
    return accuracy(logits.argmax(1), some.labels)
