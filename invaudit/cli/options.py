"""Options that several commands share, and what they mean."""

import json
import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import Parameter

from invaudit.runtime import console, threads
from invaudit.runtime.errors import ConfigError, RunFolderError
from invaudit.runtime.numbers import whole_number
from invaudit.runtime.paths import what_is
from invaudit.runtime.text import shown

if TYPE_CHECKING:
    from cyclopts import Token

    from invaudit.data.preparation import Preparation
    from invaudit.models import InputSpec, Target
    from invaudit.runtime.executor import ExecutorChoice
    from invaudit.runtime.settings import Settings
    from invaudit.stats import OverallVerdict

S = TypeVar("S", bound="Settings")


def _whole_numbers(_: Any, tokens: "Sequence[Token]") -> tuple[int, ...]:
    """Read whole numbers as they are written; cyclopts alone would round 1.5 to 2."""
    numbers = []
    for token in tokens:
        number = whole_number(token.value)
        if number is None:
            raise ConfigError(f"{token.keyword} {shown(token.value)}: expected a whole number, e.g. 8")
        numbers.append(number)
    return tuple(numbers)


def _finite_numbers(_: Any, tokens: "Sequence[Token]") -> tuple[float, ...]:
    numbers = []
    for token in tokens:
        try:
            number = float(token.value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ConfigError(f"{token.keyword} {shown(token.value)}: expected a finite number, e.g. 0.05")
        numbers.append(number)
    return tuple(numbers)


Whole = Annotated[int, Parameter(converter=lambda hint, tokens: _whole_numbers(hint, tokens)[0])]
"""Type of an option that takes a whole number."""
Finite = Annotated[float, Parameter(converter=lambda hint, tokens: _finite_numbers(hint, tokens)[0])]
"""Type of an option that takes a number."""
Finites = Annotated[tuple[float, ...], Parameter(consume_multiple=True, negative="", converter=_finite_numbers)]
"""Type of an option that takes several numbers."""
Wholes = Annotated[tuple[int, ...], Parameter(consume_multiple=True, negative="", converter=_whole_numbers)]
"""Type of an option that takes several whole numbers."""
AllowCode = Annotated[tuple[str, ...], Parameter(negative="", show_default=False)]
"""Type of the option that names code which a config may run."""


UNITS = {"s": 1, "m": 60, "h": 3600}


def _duration(_: Any, tokens: "Sequence[Token]") -> float:
    """Read a time as people write it: 90s, 20m, 3h; 0 stands for none."""
    (token,) = tokens
    if token.value == "none":
        return 0.0
    number, unit = token.value[:-1], token.value[-1:]
    whole = whole_number(number)
    if unit not in UNITS or not whole:
        raise ConfigError(f"{token.keyword} {shown(token.value)}: expected a time such as 90s, 20m or 3h, or none")
    return float(whole * UNITS[unit])


Duration = Annotated[float, Parameter(converter=_duration)]
"""Type of an option that takes a time, in seconds; ``none`` is 0."""


def _at_least_one(_: Any, values: tuple[str, ...] | None) -> None:
    if values is not None and not values:
        raise ValueError("expected at least one value")


FailOn = Literal["leak", "inconclusive"]
"""Type of --fail-on: from which verdict on a command ends with 3."""
SeveralData = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="", validator=_at_least_one)]
"""Type of an option that takes several DATA texts."""
SeveralFiles = Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative="", validator=_at_least_one)]
"""Type of an option that takes several files."""


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every long command."""

    config: str | None = None
    "Config file, or the name of a shipped one."
    out: Path | None = None
    "Folder for the results; by default a new one under runs/."
    seeds: Wholes | None = None
    "Seeds, e.g. --seeds 0 1 2; one for a command that runs once."
    device: str | None = None
    "auto, cpu, cuda or cuda:K."
    precision: str | None = None
    "Precision of training, where there is some: auto, float32 or bfloat16."
    workers: Whole | None = None
    "Jobs of a benchmark at a time, by default one for each core or accelerator; threads that read picture files."
    resume: Annotated[bool, Parameter(negative="")] = False
    "Continue the run that --out holds."
    json: Annotated[bool, Parameter(negative="")] = False
    "Print one JSON object on stdout and nothing else."
    quiet: Annotated[bool, Parameter(negative="")] = False
    "No progress and no notices."
    set: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = ()
    "Set any field of the config: --set key=value; may be repeated."

    def start(self, *unused: str, resumes: bool = False) -> None:
        """Make the console as quiet as asked, and refuse options that the command has no use for.

        Args:
            unused: Names of the options.
            resumes: Whether the same command once more goes on with the run, without being told to.
        """
        console.configure(quiet=self.quiet or self.json)
        self.refuse(*unused, where="in this command")
        self._refuse_early(resumes=resumes)
        configure_threads(self.workers)

    def _refuse_early(self, *, resumes: bool) -> None:
        """Refuse what needs no network to be refused, before the command loads what takes seconds."""
        from invaudit.runtime.runs import refuse_used
        from invaudit.runtime.settings import find_config

        if self.config is not None:
            find_config(self.config)
        if self.out is not None:
            refuse_used(self.out, resume=self.resume or resumes)

    def refuse(self, *unused: str, where: str) -> None:
        """Refuse options that would change nothing."""
        refuse_given(where, **{name: getattr(self, name) for name in unused})

    def settings(
        self,
        kind: type[S],
        default: str | None = None,
        *,
        precision_key: str | None = None,
        allow_code: Sequence[str] = (),
        **fields: Any,
    ) -> S:
        """Return the settings that --config, --set and the options of a command give, the later the stronger.

        Args:
            kind: Class of the settings.
            default: Shipped config where --config names none; without it, the defaults of the class.
            precision_key: What --precision sets, e.g. ``training.precision``; None: nothing.
            allow_code: Names of code that the command allows to be run.
            fields: Fields that have an option of their own; None = not given.

        Raises:
            ConfigError: The settings are wrong, or name code that the command does not.
        """
        from invaudit.runtime.settings import load_config

        overrides = self.set
        if precision_key and self.precision is not None:
            overrides = (*overrides, f"{precision_key}={self.precision}")
        config = default if self.config is None else self.config
        settings = load_config(kind, config, overrides, **fields)
        for name in dict.fromkeys(settings.code()):
            if name not in allow_code:
                raise ConfigError(
                    f"{self.config or 'a --set'} names code, {shown(name)}, which would be imported and executed; "
                    f"if you trust it, name it in the command too: --allow-code {shlex.quote(name)}"
                )
        return settings

    def folder(self, kind: str) -> Path:
        """Return the folder for the results; resuming needs its name."""
        if self.out:
            return self.out
        if self.resume:
            raise ConfigError("--resume needs --out: the folder of the run to continue")
        return Path("runs") / f"{kind}-{datetime.now():%Y%m%d-%H%M%S}"

    def seed(self) -> int:
        """Return the one seed of a command that runs once."""
        if self.seeds is not None and len(self.seeds) != 1:
            raise ConfigError(f"--seeds {' '.join(map(str, self.seeds))}: this command takes one seed")
        return self.seeds[0] if self.seeds else 0


@Parameter(name="*")
@dataclass(frozen=True)
class Model:
    """A trained classifier: the MODEL grammar."""

    model: Path | None = None
    "safetensors, or a torch checkpoint that holds weights alone."
    arch: str | None = None
    "NAME of invaudit (also invaudit:NAME), torchvision:NAME[@WEIGHTS], timm:NAME[.TAG] or package.module:callable."
    input: str | None = None
    "What the model takes: CHANNELSxHEIGHTxWIDTH, e.g. 1x28x28."
    mean: Finites | None = None
    "Mean per channel that the model subtracts from images in [0, 1]."
    std: Finites | None = None
    "Standard deviation per channel that it divides by."
    resize: Whole | None = None
    "Pictures of any size: the length that the short side gets first."
    crop: Whole | None = None
    "Then the side of the square that is cut from the centre; by default the input of the model."
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    "How --resize, --crop or --squash interpolate; bilinear by default."
    squash: Annotated[bool, Parameter(negative="")] = False
    "Scale whole pictures to the input, whatever their shape, in place of --resize and --crop."
    match: Literal["name", "order"] = "name"
    "How the weights of a file find their place; by order only if they have other names than the network."
    output: str | None = None
    "Output of the network that holds the logits, where it has several: a key, a field, or a number from 0."

    def given(self) -> dict[str, Any]:
        """Return what is not left at its default, by the name of the option."""
        return {name: value for name, value in vars(self).items() if value != getattr(Model, name)}

    def required(self, argument: Path | None, purpose: str, device: str | None, *, download: bool = False) -> "Target":
        """Return the model, which is the first argument or --model, on a device.

        Args:
            argument: First argument of the command, if there is one.
            purpose: What the command needs the network for, for the message.
            device: As --device; None = auto.
            download: Whether published weights may be fetched.
        """
        if argument is not None and self.model is not None:
            raise ConfigError(f"the model is given twice, as {argument} and as --model {self.model}; give it once")
        target = (self if argument is None else replace(self, model=argument)).load(download=download)
        if target is None:
            raise ConfigError(f"--model is missing: the network {purpose}")
        from invaudit.models import resolve_device

        return target.to(resolve_device("auto" if device is None else device))

    def load(self, *, download: bool = False) -> "Target | None":
        """Return the model, or None where none is named."""
        if self.model is None:
            return None
        fields = self.fields()  # refused before anything is loaded
        from invaudit.models import load_model

        return load_model(
            self.model, arch=self.arch, spec=fields, match=self.match, output=self.output, download=download
        )

    def spec(self) -> "InputSpec | None":
        """Return the input spec that the options give by themselves, if any."""
        fields = self.fields()
        if self.input is None:
            if fields:
                raise ConfigError(
                    "--mean, --std, --resize, --crop and --squash say how pictures become what --input names; "
                    "give --input too"
                )
            return None
        from invaudit.models import InputSpec

        return InputSpec(**fields)

    def fields(self) -> dict[str, Any]:
        """Return the fields of the input spec that are given."""
        fields: dict[str, Any] = {}
        if self.input is not None:
            # Six digits of ASCII: a number of a thousand digits takes long to read, and isdigit() takes more than 0-9.
            sizes = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})x([0-9]{1,6})", self.input)
            if sizes is None:
                raise ConfigError(f"--input {self.input[:40]!r}: expected CHANNELSxHEIGHTxWIDTH, e.g. 1x28x28")
            fields |= dict(zip(("channels", "height", "width"), map(int, sizes.groups()), strict=True))
        for name, values in (("mean", self.mean), ("std", self.std), ("preparation", self._preparation())):
            if values is not None:
                fields[name] = values
        return fields

    def _preparation(self) -> "Preparation | None":
        if self.resize is None and self.crop is None and not self.squash:
            if self.interpolation is not None:
                raise ConfigError("--interpolation says how --resize, --crop or --squash interpolate; give one of them")
            return None
        from invaudit.data.preparation import Preparation

        return Preparation(self.resize, self.crop, self.interpolation or "bilinear", self.squash)


@Parameter(name="*")
@dataclass(frozen=True)
class JobOptions:
    """Options of a command whose work is many jobs."""

    executor: str | None = None
    "serial, processes (both on this machine), ray (on its cores), ray:ADDRESS (on a cluster). No number depends on it."
    gpus_per_job: float | None = None
    "Accelerators of a Ray cluster that a job takes, or a share of one; by default one where there are some."
    memory_per_job: float | None = None
    "Memory in GiB of a Ray cluster that a job takes; by default what there is."

    def choice(self, common: Common) -> "ExecutorChoice":
        """Return the executor that the command asks for.

        Raises:
            ConfigError: Unknown, or options that do not go together.
        """
        from invaudit.runtime.executor import ExecutorChoice

        return ExecutorChoice.parse(self.executor, common.workers, self.gpus_per_job, self.memory_per_job)


def configure_threads(workers: int | None) -> None:
    """Let as many threads read picture files as --workers says."""
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers {workers}: expected at least 1")
    threads.configure(workers)


def refuse_given(where: str, **options: object) -> None:
    """Refuse options that would change nothing, such as ``with --probabilities``; None: not given."""
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"--{name.replace('_', '-')} changes nothing {where}; leave it out")


def refuse_existing(path: Path, what: str) -> None:
    """Refuse to write where something lies already; ``what`` names it, e.g. the option."""
    if what_is(path, RunFolderError):
        raise RunFolderError(f"{path} exists already; choose another {what}")


def exit_code(verdict: "OverallVerdict | None", fail_on: FailOn | None) -> int:
    """Return the exit code of a verdict; a test that failed has none, which is no better than an inconclusive one."""
    word = verdict.verdict if verdict else "inconclusive"
    return 3 if fail_on and word in ("leak", fail_on) else 0


def verdict_report(verdict: "OverallVerdict | None") -> dict[str, Any]:
    """Return a verdict for programs; none where nothing has a result."""
    if verdict is None:
        return {"verdict": None, "reasons": []}
    return {"verdict": verdict.verdict, "reasons": list(verdict.reasons)}


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on stdout."""
    print(json.dumps({"schema": 1, **value}, indent=2, sort_keys=True, allow_nan=False))
