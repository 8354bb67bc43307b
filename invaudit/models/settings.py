"""A trained network as a config names it: the MODEL grammar, one key for each option of the command line."""

from typing import Annotated, Any

from pydantic import Field

from invaudit.models.architectures import full_name
from invaudit.models.families import KNOWN
from invaudit.models.loading import load_model
from invaudit.models.matching import Match
from invaudit.models.spec import MEAN_LIMIT, STD_RANGE
from invaudit.models.target import Target
from invaudit.runtime.files import content_hash
from invaudit.runtime.named import import_named, source_code
from invaudit.runtime.settings import Settings

Mean = Annotated[float, Field(ge=-MEAN_LIMIT, le=MEAN_LIMIT)]
Std = Annotated[float, Field(ge=STD_RANGE[0], le=STD_RANGE[1])]


def foreign_arch(arch: str | None) -> list[str]:
    """Return an architecture that is no part of a library that we know, as what a config names to be run."""
    return [] if arch is None or full_name(arch).partition(":")[0] in KNOWN else [arch]


def code_hashes(arch: str | None) -> list[str]:
    """Return the hash of the code of an architecture that is no part of a library that we know: a run knows a change.

    Call it when the code was imported before, as of a network that was built.
    """
    return [content_hash(source_code(import_named(*name.split(":", 1)))) for name in foreign_arch(arch)]


class ModelSettings(Settings):
    """How a network is built and its file read."""

    arch: str | None = None
    """NAME of invaudit (also ``invaudit:NAME``), ``torchvision:NAME[@WEIGHTS]``, ``timm:NAME[.TAG]`` or
    ``package.module:callable``, code that is run. Files of invaudit know theirs."""
    match: Match = "name"
    """How the tensors of the file find their place: by ``name``, or by ``order`` where they have other names."""
    output: str | None = None
    """Output of the network that holds the logits, where it has several."""
    mean: tuple[Mean, ...] | None = None
    """Mean per channel that the network subtracts from images in [0, 1]; unset: as the file or the published weights
    say, or 0."""
    std: tuple[Std, ...] | None = None
    """Standard deviation per channel that it divides by; unset: as the file or the published weights say, or 1."""

    def code(self) -> list[str]:
        """An architecture that is no part of a library that we know is imported and run."""
        return foreign_arch(self.arch)

    def load(self, model: str, shape: tuple[int, int, int]) -> Target:
        """Load a trained network.

        Args:
            model: MODEL; a relative name is also looked for in the folder of INVAUDIT_WEIGHTS.
            shape: Channels, height and width of the images that it is given.

        Raises:
            InputError: As ``load_model``.
        """
        fields: dict[str, Any] = dict(zip(("channels", "height", "width"), shape, strict=True))
        for name in ("mean", "std"):
            if getattr(self, name) is not None:
                fields[name] = getattr(self, name)
        return load_model(model, arch=self.arch, spec=fields, match=self.match, output=self.output)
