import subprocess
import sys

import pytest
import yaml

from invaudit.runtime import ConfigError, Settings, dump_config, load_config


class Inner(Settings):
    epochs: int = 3
    rate: float = 0.1


class Outer(Settings):
    name: str = "x"
    training: Inner = Inner()


def test_later_sources_win(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("name: file\ntraining: {epochs: 5, rate: 0.2}\n")
    settings = load_config(Outer, str(file), ("training.epochs=7",), name="option")
    assert settings == Outer(name="option", training=Inner(epochs=7, rate=0.2))


def test_none_means_not_given(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("name: file\n")
    assert load_config(Outer, str(file), name=None).name == "file"


def test_resolved_config_reads_back(tmp_path):
    settings = Outer(training=Inner(rate=0.25))
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(settings))
    assert load_config(Outer, str(file)) == settings


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("nmae: a", ("'nmae'", "did you mean 'name'")),
        ("training: {epoch: 3}", ("'training.epoch'", "did you mean 'epochs'")),
        ("training: {epochs: many}", ("training.epochs", "'many'")),
        ("- a list", ("list", "keys and values")),
        ("name: [", ("not valid YAML",)),
    ],
)
def test_config_errors_name_key_and_remedy(tmp_path, text, parts):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(Outer, str(file))
    message = str(caught.value)
    assert "bad.yaml" in message
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("override", ["epochs", "=3", "name.deeper=1"])
def test_bad_overrides_are_refused(override):
    with pytest.raises(ConfigError, match="--set"):
        load_config(Outer, None, ("name=x", override))


def test_unknown_config_lists_the_shipped_ones():
    with pytest.raises(ConfigError, match=r"did you mean 'ood/digits'.*shipped: .*ood/digits"):
        load_config(Outer, "ood/digit")


def test_every_shipped_config_is_plain_yaml():
    from invaudit.runtime.settings import config_folders

    files = [file for folder in config_folders() for file in folder.rglob("*.yaml")]
    assert files
    for file in files:
        assert isinstance(yaml.safe_load(file.read_text()), dict)


@pytest.mark.parametrize(
    "package", ["invaudit", "invaudit.runtime", "invaudit.stats", "invaudit.report", "invaudit.cli"]
)
def test_these_packages_do_not_load_torch(package):
    code = f"import {package}, sys; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
