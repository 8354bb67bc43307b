"""The files of a guard that lie beside its network, read without trusting what they hold."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load
from torch import Tensor, float64

from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import ModelError
from invaudit.runtime.files import content_hash, read_object
from invaudit.runtime.paths import is_file, read_bytes
from invaudit.runtime.settings import explain
from invaudit.runtime.text import shown

SCHEMA = 4
DESCRIPTION, DETECTOR = "guard.json", "detector.safetensors"
REMEDY = "fit it again"


class _Images(BaseModel):
    """What is read of the description of a set of images."""

    model_config = ConfigDict(extra="allow", strict=True)

    hash: str = ""
    class_names: list[str] = []


class _Description(BaseModel):
    """What is read of ``guard.json``; what else it holds is for people."""

    model_config = ConfigDict(extra="allow", strict=True)

    target_hash: str
    detector_hash: str
    data: _Images = _Images()
    calibration: _Images = _Images()
    splits: dict[str, _Images] = {}
    earlier: list[Any] = []


def read_description(folder: Path) -> dict[str, Any]:
    """Return what ``guard.json`` holds, but for the schema.

    Raises:
        ModelError: It is missing, damaged, or of another schema.
    """
    path = folder / DESCRIPTION
    if not is_file(path, ModelError):
        raise ModelError(f"{folder} holds no guarded classifier ({DESCRIPTION}); make one with: invaudit ood fit")
    about = read_object(path, remedy=REMEDY, kind=ModelError)
    schema = about.pop("schema", None)
    if schema != SCHEMA:
        raise ModelError(f"{folder} has schema {shown(schema)}, this version reads {SCHEMA}; {REMEDY}")
    try:
        _Description.model_validate(about)
    except ValidationError as error:
        raise ModelError(f"{path} is damaged: {explain(_Description, error)}; {REMEDY}") from error
    return about


def read_detector(folder: Path, digest: str) -> dict[str, Tensor]:
    """Return the tensors of ``detector.safetensors``, those of the detector and ``calibration``.

    Raises:
        ModelError: It is missing, damaged, or another than the description says.
    """
    path = folder / DETECTOR
    content = read_bytes(path, ModelError)
    if digest != content_hash(content):
        raise ModelError(f"{path} is damaged, or not the detector that {DESCRIPTION} describes; {REMEDY}")
    with foreign(f"{path} is damaged", ModelError, remedy=REMEDY):
        state = load(content)
    calibration = state.get("calibration")
    if calibration is None or calibration.ndim != 1 or calibration.dtype != float64 or not len(calibration):
        raise ModelError(f"{path} holds no scores of calibration images; {REMEDY}")
    if not calibration.isfinite().all():
        raise ModelError(f"{path} holds scores of calibration images that are not finite; {REMEDY}")
    return state
