"""The trunks of LPIPS: where their ImageNet weights are looked for, and how they are read."""

import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from invaudit.models.loading import WEIGHTS_FOLDER
from invaudit.runtime.console import notice
from invaudit.runtime.errors import MissingWeightsError, ModelError

TRUNKS = {"alex": "alexnet", "squeeze": "squeezenet1_1"}
"""Network of LPIPS -> torchvision's name of its trunk."""


def trunk_weights(net: str, folder: Path | None, *, download: bool) -> dict[str, Tensor]:
    """Return the weights of a trunk under torchvision's names (``features.0.weight``, ...).

    Looked for in this order: ``lpips_NET_trunk.safetensors`` in the folder, or else in the folder that INVAUDIT_WEIGHTS
    names; torchvision's cache, unless a folder was given; with ``download``, torchvision's server.

    Args:
        net: ``alex`` or ``squeeze``.
        folder: Folder to look in; None for that of INVAUDIT_WEIGHTS.
        download: Fetch what is not found, checked against the hash in its name.

    Raises:
        MissingWeightsError: The weights are in none of these places.
        ModelError: The file is damaged.
    """
    place = folder or (Path(os.environ[WEIGHTS_FOLDER]) if os.environ.get(WEIGHTS_FOLDER) else None)
    file = place and Path(place) / f"lpips_{net}_trunk.safetensors"
    name = TRUNKS[net]
    published = published_weights(name)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / published.url.rpartition("/")[2]
    if file and file.is_file():
        return _read(file)
    if folder is None and cached.is_file():
        return _read(cached)
    if download:
        notice(f"downloading {published.url}")
        return _features(published.get_state_dict(progress=False, check_hash=True))
    raise MissingWeightsError(
        f"lpips-{net} needs the trunk weights of {name}, which are neither at "
        f"{file or f'${WEIGHTS_FOLDER}/lpips_{net}_trunk.safetensors'} nor at {cached}; "
        "fetch them with --download (from Python: download=True)"
    )


def published_weights(name: str) -> Any:
    """Return torchvision's ImageNet weights of a network, as its own class of them."""
    # Here, since it takes seconds to load.
    from torchvision.models import get_model_weights

    return get_model_weights(name)["IMAGENET1K_V1"]


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return _features(load_file(path))
        return _features(torch.load(path, map_location="cpu", weights_only=True))
    except (SafetensorError, RuntimeError, EOFError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read as trunk weights ({error}); remove it and fetch it again") from error


def _features(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if name.startswith("features.")}
