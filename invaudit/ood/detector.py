"""Detectors: what each of them promises, the registry of ours and pytorch-ood's, and users' own by path.

To add a detector of ours, write it in a file of its own and give it a line in ``DETECTORS``; it then has a row in every
table, and ``tests/contract/test_detectors.py`` checks what `Detector` promises. One of your own needs no change here:
name it by path, see `UserDetector`.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, Self, runtime_checkable

import torch
from pydantic import ValidationError
from torch import Tensor

from invaudit.models import Activations
from invaudit.ood.baselines.base import LibraryDetector
from invaudit.ood.baselines.table import BASELINES, TUNABLE
from invaudit.ood.baselines.tuning import TunedDetector
from invaudit.ood.fit_inputs import FitInputs
from invaudit.ood.joint import Joint
from invaudit.ood.scores import (
    PAPERS,
    LogitScore,
    garbage_logit,
    garbage_probability,
    max_probability,
    require_finite,
    uncertainty,
)
from invaudit.records import DetectorInfo
from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import NotApplicableError, SettingError
from invaudit.runtime.named import import_named, source_code
from invaudit.runtime.text import shown

CONSUMABLE = ("logits", "features", "moments", "maps", "images")
"""What a detector can read of a pass; ``garbage`` beside it: it needs a network with a garbage class."""


class Detector(Protocol):
    """Gives each image one score, higher = more OOD. Fitted once for each network, it scores any number of images."""

    @property
    def info(self) -> DetectorInfo:
        """What it is: name, role, what it consumes, cost and paper."""
        ...

    def fit(self, inputs: FitInputs) -> Self:
        """Learn from what it consumes of the inputs, and return itself.

        Raises:
            NotApplicableError: The network lacks what the method needs.
            SettingError: The inputs cannot be used.
        """
        ...

    def score(self, activations: Activations) -> Tensor:
        """Return scores (N,) float64, finite; the score of an image does not depend on the images beside it.

        Args:
            activations: All that the network gives in a pass, the logit of a garbage class included.
        """
        ...


@runtime_checkable
class InParts(Protocol):
    """A detector that joins several scores, each of which has a row of its own in the tables."""

    @property
    def part_weights(self) -> Mapping[str, float]:
        """Weight of each part, by name."""
        ...

    def score_parts(self, activations: Activations) -> dict[str, Tensor]:
        """Return the score of each part, (N,)."""
        ...

    def combine(self, parts: dict[str, Tensor]) -> Tensor:
        """Return the joined score (N,) of the scores of the parts."""
        ...


class UserDetector:
    """A detector that a user named by path.

    The class is made without arguments. It has ``fit(activations, labels)``, which returns itself, and
    ``score(activations) -> (N,)``, higher = more OOD. It sees the ID classes alone: its logits are (N, classes).

    It may say what it reads in an attribute ``consumes``: ``"logits"``, ``"features"``, ``"moments"``, ``"maps"``
    or ``"images"``, several joined by ``+``. Without it, it is fitted to logits, features and moments of all training
    images. One that consumes maps or images is fitted to as many training images as a benchmark keeps maps of
    (``map_images``), with their maps and images. Scoring always has all of these. Further attributes that it may have:
    ``cost = "high"``, if it takes milliseconds for each image, and ``paper``; or all of them as one ``info``, a
    `DetectorInfo`; each may be a property. In tables it goes by its path, so that no two detectors share a name.

    Args:
        path: ``package.module:Class``.

    Raises:
        SettingError: There is no such class, it cannot be made without arguments, or it consumes what no pass gives.
    """

    def __init__(self, path: str) -> None:
        kind = _class_at(path)
        remedy = "it is made without arguments, as Class(), and then says what it is"
        with foreign(f"--detector {shown(path)} cannot be made", SettingError, remedy=remedy):
            self._detector = kind()
            declared = _declared(self._detector)
        self.info = _info(path, declared)

    def fit(self, inputs: FitInputs) -> Self:
        """Fit the user's detector to what it consumes."""
        inputs = inputs.classes_only()
        reads = set(self.info.consumes.split("+"))
        if "maps" in reads and not inputs.maps.maps:
            raise NotApplicableError("needs maps of blocks, which this network does not have")
        activations, labels = inputs.train, inputs.train_labels
        if reads & {"maps", "images"}:
            activations, labels = inputs.maps, inputs.maps_labels
        self._fitted = self._detector.fit(activations, labels)
        if not hasattr(self._fitted, "score"):
            raise SettingError(
                f"fit of {self.info.name} returned {type(self._fitted).__name__}, expected the detector itself; "
                "end it with: return self"
            )
        self._classes = inputs.target.classes
        return self

    def score(self, activations: Activations) -> Tensor:
        """Return the scores of the user's detector."""
        scores = torch.as_tensor(self._fitted.score(activations.classes_only(self._classes)))
        return require_finite(scores, self.info.name)


DETECTORS: dict[str, Callable[[], Detector]] = {
    "joint": Joint,
    "garbage-probability": partial(
        LogitScore, "garbage-probability", garbage_probability, needs_garbage=True, paper=PAPERS
    ),
    "garbage-logit": partial(LogitScore, "garbage-logit", garbage_logit, needs_garbage=True, paper=PAPERS),
    "max-probability": partial(LogitScore, "max-probability", max_probability, paper="arXiv 1610.02136"),
    "uncertainty": partial(LogitScore, "uncertainty", uncertainty, paper=PAPERS),
    **{name: partial(LibraryDetector, row) for name, row in BASELINES.items()},
    **{f"{name}@tuned": partial(TunedDetector, BASELINES[name]) for name in TUNABLE},
}
"""Name -> what makes the detector, not yet fitted; a detector of ours is added here."""


def our_detectors() -> tuple[str, ...]:
    """Return the names of our own detectors: those of the registry that stand for no class of pytorch-ood."""
    ours = []
    for name in DETECTORS:
        if name.removesuffix("@tuned") not in BASELINES:
            ours.append(name)
    return tuple(ours)


def make_detector(name: str) -> Detector:
    """Return a detector that is not yet fitted.

    Args:
        name: A name in ``DETECTORS``, or ``package.module:Class`` for one of your own.

    Raises:
        SettingError: There is no such detector.
    """
    if name in DETECTORS:
        return DETECTORS[name]()
    return UserDetector(name)


def source_of(path: str) -> bytes:
    """Return the content of the file that holds a user's class, see ``source_code``.

    Raises:
        SettingError: There is no such class.
    """
    return source_code(_class_at(path))


def _declared(detector: Any) -> dict[str, Any]:
    """Return what a user's detector says of itself, in its ``info`` or in attributes of its own."""
    # Not getattr with a default: a property that fails would read as one that is not there.
    has_info = inspect.getattr_static(detector, "info", None) is not None
    described = detector.info if has_info else detector
    declared = {}
    for field in ("consumes", "cost", "paper"):
        if hasattr(described, field):
            declared[field] = getattr(described, field)
    return declared


def _info(path: str, declared: dict[str, Any]) -> DetectorInfo:
    described = {"name": path, "role": "user", "consumes": "logits+features+moments"} | declared
    try:
        info = DetectorInfo.model_validate(described)
    except ValidationError as error:
        problem = error.errors()[0]
        raise SettingError(f"{path} declares {problem['loc'][0]} {problem['input']!r}: {problem['msg']}") from error
    unknown = set(info.consumes.split("+")) - set(CONSUMABLE)
    if unknown:
        raise SettingError(f"{path} consumes {min(unknown)!r}, expected {', '.join(CONSUMABLE)}, joined by +")
    return info


def _class_at(path: str) -> Any:
    module, colon, name = path.partition(":")
    if not colon:
        raise SettingError(f"--detector {shown(path)}: expected package.module:Class")
    with foreign(f"--detector {shown(path)} cannot be imported", SettingError, remedy="correct its code or its name"):
        return import_named(module, name)
