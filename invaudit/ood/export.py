"""A guard as one ONNX file: classifier, score and decision, for programs that have neither torch nor invaudit."""

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invaudit.data import ImageSet, noise, seeded_rng
from invaudit.data.image_set import evenly_spread
from invaudit.models import Target
from invaudit.ood.joint import Joint
from invaudit.ood.parts import PARTS
from invaudit.runtime.errors import MissingExtraError, ModelError
from invaudit.runtime.files import content_hash, write_bytes, write_json
from invaudit.runtime.version import __version__

SCHEMA = 1
NEEDED = ("onnx", "onnxscript", "onnxruntime")
"""What the extra ``onnx`` installs."""
OUTPUTS = {
    "logits": "(N, outputs) float32; where there is one output more than classes, the last is that of garbage",
    "score": "(N,) float64, higher = more OOD",
    "p_value": "(N,) float64, small = stranger than the calibration images",
    "accepted": "(N,) bool, whether the score is at most the threshold",
    "predicted": "(N,) int64, the most likely class",
}
TOLERANCE = 1e-4
"""Largest difference of a score from torch's, in units of the spread of calibration scores."""
SAME_CLASS = 0.9
"""Share of images that keep their class at least: of two classes that are equally likely, rounding decides."""
COMPARED = 64
"""Images that the file is compared with torch on."""
LARGEST_BYTES = 2**31 - 2**24
"""What one file of ONNX holds at most, with room for the graph itself."""


@dataclass(frozen=True)
class Comparison:
    """How far an exported guard is from the one it was made of.

    Attributes:
        n: Number of images.
        source: Name of the images, or ``drawn``.
        difference: Largest difference of a score, in units of the spread; beyond the largest calibration score the
            distance to it counts as spread too.
    """

    n: int
    source: str
    difference: float


class GuardNetwork(nn.Module):
    """A guard as one network, from images to the decision, by the formulas of its detector.

    Args:
        target: The classifier, which is copied to the CPU.
        joint: Its fitted detector.
        calibration: (n,) float64, scores of calibration images.
        threshold: Score above which an image is rejected.
    """

    def __init__(self, target: Target, joint: Joint, calibration: Tensor, threshold: float) -> None:
        super().__init__()
        self.target = deepcopy(target).cpu().eval()
        self.joint, self.calibration, self.threshold = joint, calibration, threshold

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return what `OUTPUTS` names, of images (N, C, H, W) float32 in [0, 1]."""
        activations = self.target.activations(images)
        parts = {}
        for name, state in self.joint.state.items():
            parts[name] = PARTS[name].score(state, PARTS[name].read(activations))
        score = self.joint.combine(parts)
        at_least = (self.calibration >= score[:, None]).sum(1)
        p_value = (1 + at_least).double() / (len(self.calibration) + 1)
        predicted = activations.logits[:, : self.target.classes].argmax(1)
        return activations.logits, score, p_value, score <= self.threshold, predicted


def export_onnx(
    network: GuardNetwork, path: Path, about: dict[str, Any], images: Tensor | ImageSet | None = None
) -> Comparison:
    """Write a guard as one ONNX file, and what a caller must know beside it, as ``NAME.onnx.json``.

    The file takes ``images``, (N, C, H, W) float32 in [0, 1], and gives the outputs that `OUTPUTS` describes; mean and
    std are inside. How a picture becomes such an image stands in the JSON.

    Args:
        network: The guard.
        path: File to write.
        about: Further plain values for the JSON.
        images: ID images to compare the scores of torch and onnxruntime on, 64 of them; None: some are drawn, of which
            few look like calibration images.

    Returns:
        How far the scores of the file are from those of torch.

    Raises:
        MissingExtraError: A package of the extra ``onnx`` is not installed.
        ModelError: The network cannot be exported, is too large for one file, or gives other scores there.
    """
    _require_extra()
    content = _onnx(network)
    floats, source = _images(network, images)
    difference = _largest_difference(network, content, floats)
    write_bytes(path, content)
    compared = {"n": len(floats), "images": source, "difference": difference}
    more = about | {"onnx_hash": content_hash(content), "compared": compared}
    write_json(path.with_name(f"{path.name}.json"), _description(network) | more)
    return Comparison(len(floats), source, difference)


def _description(network: GuardNetwork) -> dict[str, Any]:
    target, spec = network.target, network.target.spec
    versions = {name: str(importlib.import_module(name).__version__) for name in ("torch", *NEEDED)}
    return {
        "schema": SCHEMA,
        "input": {"name": "images", "type": "float32", "shape": ["N", *spec.shape], "range": [0, 1]},
        "preparation": spec.preparation.record() if spec.preparation else None,
        "normalised_inside": {"mean": list(spec.mean), "std": list(spec.std)},
        "outputs": OUTPUTS,
        "classes": target.classes,
        "has_garbage": target.has_garbage,
        "threshold": network.threshold,
        "n_calibration": len(network.calibration),
        "target_hash": target.hash,
        "versions": {"invaudit": __version__, **versions},
    }


def _require_extra() -> None:
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingExtraError(f'export to ONNX needs {name}; run: pip install "invaudit[onnx]"') from error


def _onnx(network: GuardNetwork) -> bytes:
    """Return a guard as the bytes of an ONNX file, for any number of images at a time."""
    tensors = [*network.target.state_dict().values(), *network.joint.state_dict().values()]
    size = sum(tensor.nbytes for tensor in tensors)
    if size > LARGEST_BYTES:
        raise ModelError(f"the guard takes {size / 2**30:.1f} GiB, expected less than 2 GiB, which one ONNX file holds")
    example = torch.rand(2, *network.target.spec.shape, generator=seeded_rng(0, "onnx/example"))
    try:
        with _quiet(), torch.no_grad():
            batch = torch.export.Dim("batch", min=1)
            program = torch.export.export(network, (example,), dynamic_shapes=({0: batch},), strict=False)
            exported = torch.onnx.export(
                program,
                (),
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=["images"],
                output_names=list(OUTPUTS),
            )
            return exported.model_proto.SerializeToString()  # pyright: ignore[reportOptionalMemberAccess]
    except Exception as error:  # what a network of a user's own meets inside torch's exporter is listed nowhere
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"the network cannot be exported to ONNX: {type(error).__name__}: {reason}") from error


def _largest_difference(network: GuardNetwork, content: bytes, images: Tensor) -> float:
    """Judge images with onnxruntime and with torch, and refuse a file that differs.

    Raises:
        ModelError: A score differs by more than 1e-4 of the spread, or a decision or a class by more than rounding.
    """
    from onnxruntime import InferenceSession  # pyright: ignore[reportMissingImports]

    outputs = InferenceSession(content).run(None, {"images": images.numpy()})
    _, scores, _, accepted, predicted = (torch.from_numpy(value) for value in outputs)
    with torch.no_grad():
        _, expected, _, expected_accepted, expected_predicted = network(images)
    # Beyond the calibration scores a detector is as exact as its distance to them.
    spread = network.calibration.std() + (expected - network.calibration.max()).clamp_min(0)
    difference = ((scores - expected).abs() / spread).nan_to_num(torch.inf)
    if difference.max() > TOLERANCE:
        raise ModelError(
            f"the exported guard gives other scores than torch: by {difference.max():.2g} of their spread, expected at "
            f"most {TOLERANCE:g}; nothing was written"
        )
    near = (expected - network.threshold).abs() <= TOLERANCE * spread
    otherwise = (accepted != expected_accepted) & ~near
    if otherwise.any() or (predicted == expected_predicted).double().mean() < SAME_CLASS:
        raise ModelError("the exported guard decides otherwise than torch; nothing was written")
    return float(difference.max())


def _images(network: GuardNetwork, images: Tensor | ImageSet | None) -> tuple[Tensor, str]:
    """Return images to compare on, and what to call them."""
    if images is None:
        drawn = noise(COMPARED, network.target.spec.shape, seeded_rng(0, "onnx/compare"))
        # Of all contrasts: plain grey is nearer to ID images than noise is.
        contrast = torch.linspace(0.05, 1, COMPARED).view(-1, 1, 1, 1)
        return 0.5 + contrast * (drawn - 0.5), "drawn"
    if isinstance(images, ImageSet):
        return images.spread(COMPARED).floats(), images.name
    return images[evenly_spread(len(images), COMPARED)].cpu().float(), "given"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch's exporter warns of and reports about its own workings away from the user."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch.__trace", "onnxscript", "onnx_ir")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
