"""Another network of the same task, loaded by what is known of the first one."""

from pathlib import Path

from invaudit.models.loading import load_model, model_file, names_published_weights
from invaudit.models.stored_weights import read_weights
from invaudit.models.target import Target
from invaudit.runtime.errors import ModelError
from invaudit.runtime.paths import is_folder, short


def load_alike(model: str | Path, target: Target, called: str, *, download: bool = False) -> Target:
    """Load a network of the same task: a file of ours says itself what it is, any other is of the same architecture.

    Args:
        model: MODEL: published weights, a folder, or a file.
        target: The network whose task it has.
        called: What it is, for messages, e.g. ``the reference model``.
        download: Whether published weights that are not there may be fetched.

    Raises:
        ModelError: It cannot be loaded, or takes other images or knows another number of classes.
    """
    if names_published_weights(model) or is_folder(Path(model), ModelError):
        other = load_model(model, download=download)
    elif header := read_weights(model_file(model)).header:
        # Code runs because the user named it for the target; a file may not name any other.
        other = load_model(model, arch=target.arch if header.arch == target.arch else None)
    elif target.arch is None:
        raise ModelError(f"{short(Path(model))} does not say what it is, and neither does the model; name --arch")
    else:
        other = load_model(model, arch=target.arch, spec=target.spec)
    if other.spec.shape != target.spec.shape or other.classes != target.classes:
        raise ModelError(
            f"{called} {short(Path(model))} takes {other.spec.shape} and knows {other.classes} "
            f"classes, the model takes {target.spec.shape} and knows {target.classes}; give models of the same task"
        )
    return other
