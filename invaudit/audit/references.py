"""Reference models of an audit, given or trained here: what they answer, and the membership scores of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from invaudit.audit.reference_training import LOOKED_AT, Trainings, usable_images
from invaudit.data import ImageSet
from invaudit.leakage.gradients import log_odds
from invaudit.models import Target, TrainingSettings, collect
from invaudit.models.alike import load_alike
from invaudit.runtime.errors import ModelError, SettingError
from invaudit.runtime.paths import short
from invaudit.stats import lira_offline, lira_online, offline_a, rmia
from invaudit.stats.reference_scores import OFFLINE_A

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class References:
    """What K references answer, as log-odds of the class of each image.

    Attributes:
        answers: (K, N) for the pool.
        trained_on: (K, N) bool, whether a reference was trained on the image.
        population: (K, M) for images that no reference and not the target was trained on; None: there are none.
        a: The a of RMIA, see ``offline_a``; it matters where no reference was trained on an image of the pool.
    """

    answers: Floats
    trained_on: Flags
    population: Floats | None = None
    a: float = OFFLINE_A

    def joined(self, others: "References") -> "References":
        """Return these references and others of the same images; the a is that of these."""
        population = None
        if self.population is not None and others.population is not None:
            population = np.concatenate([self.population, others.population])
        return References(
            np.concatenate([self.answers, others.answers]),
            np.concatenate([self.trained_on, others.trained_on]),
            population,
            self.a,
        )

    def arrays(self) -> dict[str, NDArray]:
        """Return them as arrays by name, to be kept."""
        arrays = {"answers": self.answers, "trained_on": self.trained_on, "a": np.array(self.a)}
        return arrays if self.population is None else arrays | {"population": self.population}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray]) -> "References":
        """Return what ``arrays`` holds."""
        return cls(arrays["answers"], arrays["trained_on"], arrays.get("population"), float(arrays["a"]))


def confidences(target: Target, images: ImageSet) -> Floats:
    """Return the log-odds that a network gives the class of each image, (N,).

    Raises:
        ShapeError: Images of another shape than it takes.
        SettingError: An image without a class, or of one that the network does not know.
        ModelError: A logit is not finite.
    """
    labels = images.labels
    if int(labels.min()) < 0 or int(labels.max()) >= target.classes:
        raise SettingError(
            f"{images.name} has labels from {int(labels.min())} to {int(labels.max())}, expected 0 to "
            f"{target.classes - 1}: the classes of the model"
        )
    logits = collect(target, images, keep_maps=False).logits.double()
    return log_odds(logits, labels).numpy()


def reference_scores(target: Floats, references: References, population: Floats | None = None) -> dict[str, Floats]:
    """Return the membership scores that references allow, (N,) each, higher = more likely a member.

    ``lira-offline`` and ``rmia`` always, ``lira-online`` where references were trained on images of the pool by coins.

    Args:
        target: (N,) ``confidences`` of the target for the pool.
        references: What the references answer.
        population: (M,) those of the target for the images of ``references.population``. Where either is missing, the
            pool itself is the population of RMIA.
    """
    answers, coins = references.answers, references.trained_on
    scores = {"lira-offline": lira_offline(target, answers, coins)}
    if coins.any() and not coins.all():
        scores["lira-online"] = lira_online(target, answers, coins)
    of_population = references.population if population is not None else None
    population = population if of_population is not None else None
    scores["rmia"] = rmia(
        target, answers, coins, population=population, population_references=of_population, a=references.a
    )
    return scores


def given_references(
    models: Sequence[str | Path],
    target: Target,
    pool: ImageSet,
    population: ImageSet | None = None,
    *,
    download: bool = False,
) -> References:
    """Return what given models answer; none of them is taken to have been trained on an image of the pool.

    Where that is wrong, members look less exposed than they are.

    Args:
        models: MODEL of each: a file of ours, or weights of the target's architecture.
        target: The model that is audited.
        pool: Images of the pool with their classes.
        population: Images of the same source that no model was trained on, with their classes.
        download: Whether published weights that are not there may be fetched.

    Raises:
        InputError: A model that cannot be loaded or does not fit the target, one that is the target itself, or one that
            is given twice.
    """
    if not models:
        raise SettingError("got no reference models, expected at least one")
    answers, of_population = [], []
    for reference in load_references(models, target, download=download):
        answers.append(confidences(reference, pool))
        if population is not None:
            of_population.append(confidences(reference, population))
    stacked = np.stack(answers)
    return References(
        stacked, np.zeros(stacked.shape, dtype=bool), None if population is None else np.stack(of_population)
    )


def load_references(models: Sequence[str | Path], target: Target, *, download: bool = False) -> Iterator[Target]:
    """Yield given reference models, each refused that cannot be one; arguments and errors as of `given_references`."""
    seen = {target.hash: "the audited model"}
    for model in models:
        reference = load_alike(model, target, "the reference model", download=download).to(target.device)
        if reference.hash in seen:
            raise ModelError(
                f"the reference model {short(Path(model))} is the same as {seen[reference.hash]}; give models that "
                "were trained on other images"
            )
        seen[reference.hash] = f"{short(Path(model))}"
        yield reference


def train_references(
    target: Target,
    data: ImageSet,
    pool: ImageSet,
    n: int,
    training: TrainingSettings,
    *,
    seed: int,
    folder: Path,
    population: ImageSet | None = None,
) -> References:
    """Train networks like the target on random halves of the data, and return what they answer.

    Each finished network is a file of the folder, and one that is stopped goes on from its last epoch, so that the same
    call again gives the same numbers; a call for more of them trains only those that are missing. What it will cost is
    said beforehand.

    Args:
        target: The audited model; the references are trained on its device.
        data: Images with classes of the target's numbering. Where they hold all images of the pool, found by content,
            each has references of both kinds. Where they hold some of them, these are left out: whether an image was
            there to be trained on must not tell who is a member.
        pool: Images of the pool with their classes.
        n: Number of references.
        training: How each is trained.
        seed: Seed of the coins and of the trainings.
        folder: Where the networks are kept.
        population: Images of the same source with their classes, in neither pool nor target; they are left out of the
            data.

    Raises:
        InputError: Data that do not fit, a model whose architecture has no name, a training that diverged or learned
            nothing, or a file of the folder that is damaged.
    """
    trainings = Trainings(target, usable_images(target, data, pool, population), n, training, seed, folder)
    trainings.announce()
    answers, coins, of_population, own_answers, own_coins = [], [], [], [], []
    pool_hashes = pool.image_hashes()
    looked_at = trainings.data.spread(LOOKED_AT)
    looked_at_hashes = looked_at.image_hashes()
    for index, reference in enumerate(trainings.networks()):
        trained_on = trainings.trained_on(index)
        answers.append(confidences(reference, pool))
        coins.append([one in trained_on for one in pool_hashes])
        own_answers.append(confidences(reference, looked_at))
        own_coins.append([one in trained_on for one in looked_at_hashes])
        if population is not None:
            of_population.append(confidences(reference, population))
    return References(
        np.stack(answers),
        np.array(coins, dtype=bool),
        None if population is None else np.stack(of_population),
        offline_a(np.stack(own_answers), np.array(own_coins, dtype=bool)),
    )
