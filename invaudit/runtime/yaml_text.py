"""YAML read without surprises: no key twice, no alias that unpacks to more than it seems, bounded size and depth."""

from collections.abc import Hashable
from typing import Any

import yaml

from invaudit.runtime.boundary import foreign
from invaudit.runtime.errors import ConfigError
from invaudit.runtime.text import shown

MOST_CHARACTERS = 2**17
"""Largest text that is read, in about a second; the largest shipped config has 5000."""
MOST_NODES = 20_000
"""Largest number of values, each counted as often as aliases repeat it."""
MOST_LEVELS = 50
"""Deepest nesting."""


def read_yaml(text: str, source: str) -> Any:
    """Return the value of a YAML text.

    Args:
        text: The text.
        source: Where it is from, for messages.

    Raises:
        ConfigError: It is no YAML, names a key twice, or is too large once its aliases are followed.
    """
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"{source} has {len(text)} characters, expected at most {MOST_CHARACTERS}; shorten it")
    with foreign(f"{source} is not valid YAML", ConfigError, remedy="correct it"):
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _Checks(source).size(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """Makes plain values alone, and of no text that is nested too deep: it would run out of Python's own levels."""

    level = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node and all that is in it."""
        self.level += 1
        if self.level > MOST_LEVELS:
            raise yaml.YAMLError(f"nested deeper than {MOST_LEVELS} levels")
        try:
            return super().compose_node(parent, index)
        finally:
            self.level -= 1


class _Checks:
    """What is refused of a document before any of its values is made."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sizes: dict[int, int] = {}

    def size(self, node: yaml.Node) -> int:
        """Return the number of values that a node stands for, aliases followed."""
        known = self.sizes.get(id(node))
        if known is not None:
            return known
        self.sizes[id(node)] = MOST_NODES  # until it is known: what holds itself has no end
        total = 1
        if isinstance(node, yaml.MappingNode):
            self._refuse_repeats(node)
            for key, value in node.value:
                total += self.size(key) + self.size(value)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                total += self.size(value)
        if total > MOST_NODES:
            raise ConfigError(f"{self.source} stands for over {MOST_NODES} values, aliases followed; shorten it")
        self.sizes[id(node)] = total
        return total

    def _refuse_repeats(self, node: yaml.MappingNode) -> None:
        """Refuse a key that is given twice: YAML takes the last one without a word."""
        seen: set[tuple[str, Hashable]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                line = key.start_mark.line + 1
                raise ConfigError(
                    f"{self.source}, line {line}: the key {shown(key.value)} is given twice; give it once"
                )
            seen.add((key.tag, key.value))
