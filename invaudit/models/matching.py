"""Which stored tensor belongs to which tensor of a network: by name, and by order only where that is asked for."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from invaudit.models.stored_weights import named
from invaudit.runtime.errors import ModelError

Match = Literal["name", "order"]
Shapes = Mapping[str, tuple[int, ...]]
COUNTERS = "num_batches_tracked"
"""Ending of the names of batch norm's counters, which hold no weights and which old files lack."""
PLAIN = ("", "module.", "model.", "net.", "network.", "model.module.")
"""Beginnings that wrappers put before names; one of them is taken where other copies of the network lie beside it."""
COMPILED = "_orig_mod."
"""What torch.compile puts into names."""


@dataclass(frozen=True)
class Matched:
    """Which stored name each name of a network has.

    Attributes:
        stored: Name in the network -> name in the file.
        by_order: The pairs that were matched by nothing but their order.
        left_out: Names in the file that have no place in the network.
        inside: Those of them that belong to a part that the network has: the file is of a larger one.
    """

    stored: dict[str, str]
    by_order: list[tuple[str, str]]
    left_out: list[str]
    inside: list[str]


def match_names(found: Sequence[str], wanted: Sequence[str], *, match: Match, ordered: bool, where: str) -> Matched:
    """Match the names of a file to those of a network.

    Names are equal if they differ in how they all begin and in nothing else (``module.``, ``model.``, ...).

    Args:
        found: Names in the file, in its order.
        wanted: Names in the network, in its order.
        match: ``name``, or ``order`` for what has no equal name.
        ordered: Whether the order of the file means something.
        where: The file and the network, for messages.

    Raises:
        ModelError: Something of the network is missing in the file.
    """
    found = [name for name in found if not name.endswith(COUNTERS)]
    stored, beginning, wanted_beginning = _equal_names(found, [n for n in wanted if not n.endswith(COUNTERS)], where)
    missing = [name for name in wanted if name not in stored and not name.endswith(COUNTERS)]
    taken = set(stored.values())
    left = [name for name in found if name not in taken and name != "n_averaged"]
    by_order: list[tuple[str, str]] = []
    if missing and match == "order":
        if not ordered:
            raise ModelError(
                f"{where}: safetensors keep no order to match {named(missing)} by; rename them, or give a .pth file"
            )
        if len(left) != len(missing):
            raise ModelError(
                f"{where}: {len(stored)} tensors have equal names, and of the others there are {len(left)} in the file "
                f"and {len(missing)} in the network; these cannot be matched by their order"
            )
        by_order = list(zip(missing, left, strict=True))
        stored |= dict(by_order)
        left = []
    elif missing:
        raise ModelError(_missing(where, missing, left, len(stored)))
    inside = [name for name in left if _is_inside(name, beginning, wanted, wanted_beginning)]
    return Matched(stored, by_order, left, inside)


def check_shapes(matched: Matched, found: Mapping[str, Tensor], wanted: Shapes, where: str) -> None:
    """Refuse tensors of another shape than the network has, and a file that holds more of it than it has.

    Raises:
        ModelError: There are some.
    """
    for name, stored_name in matched.stored.items():
        value = found[stored_name]
        if tuple(value.shape) != wanted[name]:
            takes = f"{name!r} takes" if name != stored_name else "the network takes"
            raise ModelError(
                f"{where}: {stored_name!r} has shape {tuple(value.shape)}, {takes} {wanted[name]}; "
                "check --arch and --input"
            )
    if matched.inside:
        raise ModelError(f"{where}: the file holds more of the network than it has, such as {named(matched.inside)}")


def _equal_names(found: Sequence[str], wanted: Sequence[str], where: str) -> tuple[dict[str, str], str, str]:
    """Return network name -> stored name for equal names, and what comes before them in the file and in the network."""
    plain = {name.replace(COMPILED, ""): name for name in found}
    best: list[tuple[int, str, str]] = []
    for wanted_beginning in dict.fromkeys(["", _common_beginning(wanted)]):
        rests = {name.removeprefix(wanted_beginning) for name in wanted}
        counts = Counter(beginning for name in plain for beginning, rest in _cuts(name) if rest in rests)
        best += [(count, beginning, wanted_beginning) for beginning, count in counts.items()]
    if not best:
        return {}, "", ""
    most = max(count for count, _, _ in best)
    first = [(beginning, wanted_beginning) for count, beginning, wanted_beginning in best if count == most]
    beginning, wanted_beginning = _one_of(first, complete=most == len(wanted), where=where)
    stored = {}
    for name in wanted:
        if place := plain.get(beginning + name.removeprefix(wanted_beginning)):
            stored[name] = place
    return stored, beginning, wanted_beginning


def _one_of(choices: list[tuple[str, str]], *, complete: bool, where: str) -> tuple[str, str]:
    for beginning in PLAIN:
        for choice in choices:
            if choice[0] == beginning:
                return choice
    beginnings = list(dict.fromkeys(beginning for beginning, _ in choices))
    if complete and len(beginnings) > 1:
        raise ModelError(
            f"{where}: the file holds several sets of its weights, under {named(beginnings)}; save the wanted one alone"
        )
    return choices[0]


def _cuts(name: str) -> Iterable[tuple[str, str]]:
    """Return a dotted name cut in two at each dot, and before its beginning."""
    yield "", name
    for place, sign in enumerate(name):
        if sign == ".":
            yield name[: place + 1], name[place + 1 :]


def _common_beginning(names: Sequence[str]) -> str:
    """Return the dotted parts that all names begin with; a last part stays."""
    shared: list[str] = []
    for parts in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "".join(f"{part}." for part in shared)


def _is_inside(name: str, beginning: str, wanted: Sequence[str], wanted_beginning: str) -> bool:
    """Whether a name that has no place would belong to a part that the network has."""
    plain = name.replace(COMPILED, "")
    if not plain.startswith(beginning):
        return False
    parts = {other.removeprefix(wanted_beginning).partition(".")[0] for other in wanted}
    return plain.removeprefix(beginning).partition(".")[0] in parts


def _missing(where: str, missing: list[str], left: list[str], n_equal: int) -> str:
    beside = f"; without an equal name it holds {named(left)}" if left else ""
    remedy = "check --arch"
    if len(missing) == len(left):
        remedy += ", or give --match order if both list the same layers in the same order"
    return (
        f"{where} by name: {len(missing)} of {len(missing) + n_equal} tensors are missing, such as "
        f"{named(missing)}{beside}; {remedy}"
    )
