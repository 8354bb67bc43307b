"""Which model an audit is of: file, hash and accuracy, as they stand at the top and beside every picture."""

from invaudit.records.model_audit import Accuracy
from invaudit.report.audit.content import Content
from invaudit.report.audit.wording import share
from invaudit.report.printing import DASH, MINUS, level

UNKNOWN = "not recorded"


def model_lines(content: Content) -> list[tuple[str, str]]:
    """Return what the model is, as names and texts."""
    network, seen = content.audit.network, content.audit.preflight
    lines = [
        ("model", content.audit.model),
        ("hash", (network.hash if network else None) or UNKNOWN),
        ("accuracy", accuracy_sentence(content)),
    ]
    if network is not None and network.description:
        lines.insert(1, ("network", network.description))
    if seen is not None:
        lines.append(("gap", gap_sentence(content)))
    return lines


def accuracy_sentence(content: Content) -> str:
    """Return the accuracy on members and on controls."""
    seen, network = content.audit.preflight, content.audit.network
    if seen is not None:
        return f"{_accuracy(seen.members)} members, {_accuracy(seen.controls)} controls"
    if network is None:
        return UNKNOWN
    return f"{level(network.train_accuracy)} % on members, {level(network.control_accuracy)} % on controls"


def beside_pictures(content: Content) -> str:
    """Return which model a picture is of, for its caption."""
    network = content.audit.network
    hash_text = (network.hash if network else None) or UNKNOWN
    return f"Model {content.audit.model}, hash {hash_text[:12]}, accuracy {accuracy_sentence(content)}."


def _accuracy(value: Accuracy) -> str:
    return f"{share(value.value, value.low, value.high)} of {value.n:,}"


def gap_sentence(content: Content) -> str:
    """Return the accuracy on members less that on controls."""
    seen = content.audit.preflight
    if seen is None:
        return DASH
    low, high = _points(seen.gap_low), _points(seen.gap_high)
    return f"{_points(seen.gap)} points [{low}, {high}], members less controls"


def _points(value: float) -> str:
    return f"{MINUS if value < 0 else ''}{abs(100 * value):.1f}"
