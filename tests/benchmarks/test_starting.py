"""Configs to start from: they load, name every key, and their examples are right."""

import re

import pytest

from invaudit.benchmarks.leakage import LeakageBenchmark
from invaudit.benchmarks.ood import OODBenchmark
from invaudit.benchmarks.starting import STARTS, write_start
from invaudit.runtime import load_config

KINDS = {"ood": OODBenchmark, "leakage": LeakageBenchmark}
BOTH = pytest.mark.parametrize("kind", KINDS)


def start(kind, folder):
    file = folder / "start.yaml"
    write_start(kind, file)
    return file


def with_examples(text):
    """Set the examples: the lines behind one # that follow the words of an example."""
    lines, of_example, before = [], False, ""
    for line in text.splitlines():
        if line.lstrip().startswith("## "):
            of_example = line.lstrip().startswith("## Example: ") or (of_example and before.startswith("## "))
        before = line.lstrip()
        lines.append(re.sub("^( *)# ", r"\1", line) if of_example else line)
    return "\n".join(lines)


def settings_with_examples(kind, folder):
    file = start(kind, folder)
    file.write_text(with_examples(file.read_text(encoding="utf-8")), encoding="utf-8")
    return load_config(KINDS[kind], str(file))


@BOTH
def test_the_file_loads_to_what_runs_as_it_is(kind, tmp_path):
    assert load_config(KINDS[kind], str(start(kind, tmp_path))) == STARTS[kind].settings


@BOTH
def test_every_key_of_the_class_is_in_it_in_its_order(kind, tmp_path):
    text = start(kind, tmp_path).read_text(encoding="utf-8")
    keys = re.findall(r"^(?:# )?(\w+):", text, flags=re.MULTILINE)
    assert list(dict.fromkeys(keys)) == list(KINDS[kind].model_fields)


@BOTH
def test_the_first_line_says_how_to_run_it_and_words_fit_into_a_hundred_columns(kind, tmp_path):
    file = start(kind, tmp_path)
    first, *others = file.read_text(encoding="utf-8").splitlines()
    assert first == f"## Run it: invaudit benchmark {kind} --config {file}"
    assert max(len(line) for line in others if line.lstrip().startswith("##")) <= 100


def test_all_ood_examples_together_are_right(tmp_path):
    settings = settings_with_examples("ood", tmp_path)
    assert list(settings.networks) == ["plain", "random", "mine", "mine-on", "own", "full"]
    assert settings.networks["mine"].model == settings.networks["mine-on"].model == "mine.pth"
    assert [name for name, network in settings.networks.items() if network.is_trained_here] == [
        "plain",
        "mine-on",
        "own",
        "full",
    ]
    assert settings.code() == ["mypackage.networks:make"]
    assert [ood_set.name for ood_set in settings.ood] == ["textures", "other-birds"]
    assert (settings.id, settings.id_test, settings.side, settings.channels) == ("photos/train", "photos/val", 64, 3)
    assert settings.compare_with.row == ("plain", "KNN")
    assert list(settings.attacks) == ["other-kind-sure"]


def test_all_leakage_examples_together_are_right(tmp_path):
    settings = settings_with_examples("leakage", tmp_path)
    assert (list(settings.targets), list(settings.released)) == (["mlp", "negative"], ["mine"])
    assert (list(settings.metrics), list(settings.methods)) == (["cosine", "lpips-alex"], ["kkt", "generator"])
    assert settings.data == "mine.npz"
