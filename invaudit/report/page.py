"""What the offline pages share: one file, no request, everything escaped, readable without script."""

import base64
import hashlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from invaudit.report.sections import PageFigure, Section, figures_in
from invaudit.runtime.files import write_bytes, write_text
from invaudit.runtime.version import __version__

SORTING = "sort.js"
"""The only script of a page: it sorts tables. Without it the page says the same."""


def write_page(
    folder: Path,
    template: str,
    lead: Mapping[str, Any],
    sections: Sequence[Section],
    figures: Sequence[PageFigure] = (),
) -> Path:
    """Write ``figures/*.png`` and ``report.html`` into a run folder; equal input gives equal bytes.

    Args:
        folder: The run folder.
        template: Name of a file in ``templates``.
        lead: Variables of what the template shows above the sections; one that is missing raises.
        sections: The sections.
        figures: What the template shows of figures above the sections.

    Returns:
        The path of ``report.html``.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    for figure in (*figures, *figures_in(sections)):
        write_bytes(folder / "figures" / f"{figure.name}.png", figure.png)
    page = folder / "report.html"
    write_text(page, render(template, {**lead, "sections": sections}))
    return page


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return a template of this package filled in; everything in the context is escaped."""
    environment = Environment(
        loader=PackageLoader("invaudit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, **context)


def sorting_script() -> dict[str, str]:
    """Return the variables of a template whose tables can be sorted: the script, and its hash for the policy."""
    script = resources.files("invaudit.report").joinpath("templates", SORTING).read_text(encoding="utf-8")
    return {
        "script": Markup(script),  # noqa: S704 - a file of this package, nothing of a folder
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def provenance(seeds: Sequence[int], config: str | None, environment: Mapping[str, Any] | None) -> list[Section]:
    """Return how a run was made, as the last details of its page: seeds, command, versions, config.

    Args:
        seeds: Seeds of the run.
        config: Text of ``config.yaml``, None where it is missing.
        environment: Content of ``environment.json``, None where it is missing.
    """
    environment = dict(environment or {})
    command = shlex.join(map(str, environment.pop("command", [])))
    facts = list(_leaves(environment))
    seeds_text = ", ".join(map(str, seeds))
    made_by = [("seeds", seeds_text or "not recorded"), ("command", command or "not recorded"), *facts]
    remarks = () if facts else ("Not recorded: environment.json is missing.",)
    missing = "Not recorded: config.yaml is missing."
    return [
        Section("Seeds, versions, command", terms=made_by, remarks=remarks, is_detail=True),
        Section("Config", verbatim=config or "", missing=missing, is_detail=True),
    ]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested mappings and lists as dotted keys and text."""
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _leaves(value[key], f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        yield path, ", ".join(map(str, value))
    else:
        yield path, str(value)
