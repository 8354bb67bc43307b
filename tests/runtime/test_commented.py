import re
from typing import Annotated

import yaml
from pydantic import Field

from invaudit.runtime import Settings
from invaudit.runtime.commented import WIDTH, Example, commented_config
from invaudit.runtime.describing import Known, sentence


class Tree(Settings):
    """What grows."""

    height: float = Field(default=2.0, gt=0)
    """How ``high`` it
    is."""
    fruits: tuple[str, ...] = ()
    """What hangs in it."""


class Garden(Settings):
    name: str
    """A name."""
    kind: Annotated[str, Known({"park": 1, "wild": 2})] = "wild"
    """Its kind."""
    oldest: Tree = Tree(height=9)
    """The oldest tree, of which there is so much to say that it does not fit into the columns of a single line."""
    trees: dict[str, Tree] = Field(default_factory=dict)
    """Trees by name."""
    owner: str | None = None
    """Whose it is."""


SETTINGS = Garden.model_validate({"name": "a: b", "trees": {"elm": {"height": 3, "fruits": ["x", "y"]}, "ash": {}}})
EXAMPLES = {
    "trees": [Example("one more.", {"fir": {"height": 5.0, "fruits": ["cone"]}}), Example("another.", {"oak": {}})],
    "owner": [Example("somebody.", "Ann")],
}


def without_marks(text):
    """Set everything that is a comment in a file that has no examples."""
    return re.sub(r"^( *)# ", r"\1", text, flags=re.MULTILINE)


def test_the_file_reads_back_to_the_settings():
    text = commented_config(SETTINGS, ["Run it"], EXAMPLES)
    assert Garden.model_validate(yaml.safe_load(text)) == SETTINGS
    assert text.startswith("## Run it\n\n")


def test_the_file_with_all_defaults_set_gives_the_same_settings():
    values = yaml.safe_load(without_marks(commented_config(SETTINGS, [], {})))
    assert list(values) == list(Garden.model_fields)
    assert values["oldest"] == {"height": 9.0, "fruits": []}
    assert Garden.model_validate(values) == SETTINGS


def test_what_is_set_and_what_is_not():
    assert commented_config(SETTINGS, ["Run it", "", "now"], EXAMPLES) == GARDEN


GARDEN = """\
## Run it
##
## now

## A name.
name: 'a: b'

## Its kind. Known: `park`, `wild`.
# kind: wild

## The oldest tree, of which there is so much to say that it does not fit into the columns of a
## single line.
# oldest:
#   ## How `high` it is.
#   height: 9.0
#   ## What hangs in it.
#   fruits: []

## Trees by name.
trees:
  elm:
    height: 3.0
    fruits: [x, y]
  ash: {}
  ## Example: one more.
  # fir:
  #   height: 5.0
  #   fruits: [cone]
  ## Example: another.
  # oak: {}

## Whose it is.
# owner: null
## Example: somebody.
# owner: Ann
"""


def test_a_class_inside_a_set_mapping_is_explained_once():
    text = commented_config(SETTINGS.model_copy(update={"oldest": Tree()}), [], {})
    assert text.count("How `high`") == 1
    assert max(map(len, text.splitlines())) <= WIDTH


def test_the_names_that_a_field_takes_are_part_of_its_sentence():
    assert sentence(Garden, "kind") == "Its kind. Known: `park`, `wild`."
    assert sentence(Tree, "height") == "How `high` it is."
