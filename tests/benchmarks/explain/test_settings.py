from pathlib import Path

import pytest

from invaudit.benchmarks.explain import ExplainBenchmark
from invaudit.benchmarks.explain.check import check_benchmark
from invaudit.benchmarks.explain.jobs import inversion_jobs
from invaudit.inversion import InversionSettings
from invaudit.inversion.shipped import shipped_settings
from invaudit.runtime import ConfigError, InputError
from invaudit.runtime.settings import find_config, load_config

CONFIGS = sorted((Path(__file__).parents[3] / "configs" / "explain").glob("*.yaml"))
MINE = {"targets": {"small": {"arch": "small-cnn"}}, "name": "mine"}
SHIPPED = load_config(InversionSettings, "invert/default")


def benchmark(**changes):
    return load_config(ExplainBenchmark, None, (), **(MINE | {"variants": {"default": {}}} | changes))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_asks_for_the_default_the_modes_and_what_is_left_out(path):
    settings = load_config(ExplainBenchmark, str(path))
    assert settings.name == path.stem
    channels = 3 if path.stem == "cifar10" else 1
    shipped = shipped_settings("generator", channels)
    assert settings.variants["default"].search() == shipped
    assert settings.variants["pixels"].search() == shipped_settings("pixels", channels)
    modes = {settings.variants[name].mode for name in settings.students}
    assert modes - {None} == {"label", "vector", "matrix", "vector-matrix"}
    # Without cross-entropy nothing would ask for a class.
    left_out = [name for variant in settings.variants.values() for name in variant.without]
    assert sorted(left_out) == sorted(set(shipped.weights) - {"cross-entropy"})
    used = {name: getattr(shipped, name) for name in ("margin", "rotation", "frame", "view_noise")}
    for name, key in (
        ("no-margin", "margin"),
        ("no-turns", "rotation"),
        ("no-frame", "frame"),
        ("no-noise", "view_noise"),
    ):
        assert (name in settings.variants) == bool(used[key])
        if used[key]:
            assert getattr(settings.variants[name].search(), key) == 0


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_former_default_is_kept_by_its_own_settings(path):
    former = load_config(ExplainBenchmark, str(path)).variants["former"].search()
    assert isinstance(former, InversionSettings)
    assert (former.mode, former.generator, former.steps, former.batch_size) == ("vector-matrix", "upsample", 600, 64)
    assert (former.noise, former.dropout, former.has_views, former.schedule) == (64, 0.1, False, "constant")
    assert former.weights == {"kl": 1, "cross-entropy": 4, "cosine": 2, "orthogonality": 0.1, "batch-norm": 3}


def test_the_digits_need_no_file(monkeypatch):
    monkeypatch.delenv("INVAUDIT_DATA", raising=False)
    assert check_benchmark(load_config(ExplainBenchmark, "explain/digits"))


def test_a_variant_changes_the_shipped_config_and_nothing_else():
    variants = {"a": {"without": ["cosine"], "settings": {"steps": 7}}, "b": {"start": "defaults"}}
    settings = benchmark(variants=variants)
    weights = {name: weight for name, weight in SHIPPED.weights.items() if name != "cosine"}
    assert settings.variants["a"].search() == SHIPPED.model_copy(update={"weights": weights, "steps": 7})
    assert settings.variants["b"].search() == InversionSettings()


def test_seeds_of_variants_and_targets_choose_the_jobs():
    settings = benchmark(
        targets={"small": {"arch": "small-cnn"}, "once": {"arch": "small-cnn", "seeds": [2]}},
        variants={
            "default": {},
            "first": {"settings": {"steps": 1}, "seeds": [0, 2]},
            "not": {"settings": {"steps": 2}},
        },
        only=["default", "first"],
    )
    found = [(job.target, job.variant, job.seed) for job in inversion_jobs(settings)]
    small = [*(("small", "default", seed) for seed in (0, 1, 2)), *(("small", "first", seed) for seed in (0, 2))]
    assert found == [*small, ("once", "default", 2), ("once", "first", 2)]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"variants": {"a": {"settings": {"step": 3}}}}, ("variants.a", "did you mean 'steps'")),
        ({"variants": {"a": {"settings": {"mode": "soft"}}}}, ("unknown mode 'soft'",)),
        ({"variants": {"a": {"without": ["kl"]}}}, ("'kl', which has no weight", "cross-entropy")),
        ({"variants": {"a": {"without": ["cross-entropy"]}}}, ("nothing asks for a class",)),
        ({"students": ["b"]}, ("students names the variant 'b'", "one of default")),
        ({"only": ["b"]}, ("only names the variant 'b'",)),
        ({"variants": {"a": {"seeds": [9]}}}, ("a has seeds [9]", "[0, 1, 2]")),
        ({"targets": {}}, ("nothing to invert",)),
        ({"targets": {"second": {"arch": "small-cnn"}}}, ("'second' is taken",)),
        ({"seeds": [1, 1]}, ("hold one twice",)),
    ],
)
def test_what_does_not_go_together_is_refused(changes, parts):
    with pytest.raises(ConfigError) as caught:
        benchmark(**changes)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"variants": {"a": {}, "b": {"settings": {"mode": "label"}}}}, ("'b' is the same search as 'a'",)),
        ({"held_out": "digits@1300:9000"}, ("held_out", "9000")),
        ({"targets": {"a": {"arch": "no-such"}}}, ("network a", "no-such")),
    ],
)
def test_what_would_stop_a_run_is_told_before_the_first_job(changes, parts):
    with pytest.raises(InputError) as caught:
        check_benchmark(benchmark(**changes))
    for part in parts:
        assert part in str(caught.value)


def test_the_shipped_names_are_found():
    assert [find_config(f"explain/{path.stem}") for path in CONFIGS]
