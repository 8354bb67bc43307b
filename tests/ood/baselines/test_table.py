"""What rows promise beside the contract of all detectors (tests/contract/test_detectors.py)."""

from dataclasses import replace

import pytest
import torch

from invaudit.ood import FitInputs
from invaudit.ood.baselines import BASELINES, TUNABLE, tuned, unlisted
from invaudit.runtime import DataError, SettingError
from invaudit.runtime.errors import NotApplicableError
from invaudit.stats import auroc

pytestmark = [pytest.mark.xdist_group("baselines"), pytest.mark.slow]
NEVER = {"MCM", "WeightedEBO"}
WITHOUT = {"MCD"}
"""Rows that do not apply to the network without dropout."""
RUN = [name for name in BASELINES if name not in NEVER]


@pytest.fixture(scope="session")
def fitted(toys):
    """Return the fitted detector of a row on a network, made on first use."""
    made = {}

    def detector(network, name):
        if (network, name) not in made:
            made[network, name] = BASELINES[name].detector(toys(network).fitting)
        return made[network, name]

    return detector


@pytest.mark.parametrize("name", [name for name in RUN if name not in WITHOUT])
def test_scores_are_higher_outside_on_another_network_too(toys, fitted, name):
    toy, detector = toys("plain-cnn"), fitted("plain-cnn", name)
    assert auroc(detector.score(toy.inside).numpy(), detector.score(toy.outside).numpy()) > 0.8


@pytest.mark.parametrize("name", BASELINES)
def test_a_row_says_what_it_is(name):
    from pytorch_ood import api

    row = BASELINES[name]
    bases = {
        "logits": api.LogitsDetector,
        "features": api.FeaturesDetector,
        "logits+features": api.GradientDetector,
        "maps": api.FeatureMapsDetector,
        "moments": api.StructuredDetector,
        "logits+maps": api.StructuredDetector,
        "images": api.Detector,
    }
    assert row.name == name
    assert issubclass(row.kind, bases[row.consumes])
    assert row.info.paper
    assert row.fits_on in ("train", "fit")


def test_no_class_of_the_library_is_forgotten(monkeypatch):
    import pytorch_ood.detector as library

    assert unlisted() == set()
    monkeypatch.setattr(library, "Newcomer", type("Newcomer", (library.MaxLogit,), {}), raising=False)
    monkeypatch.setattr(library, "__all__", [*library.__all__, "Newcomer"])
    assert unlisted() == {"Newcomer"}


@pytest.mark.parametrize(
    ("network", "name", "reason"),
    [
        ("small-cnn", "WeightedEBO", "VOS"),
        ("small-cnn", "MCM", "text embeddings"),
        ("plain-cnn", "MCD", "dropout"),
        ("mlp", "MCD", "dropout"),
        ("mlp", "RankFeat", "maps"),
        ("sequential", "RankFeat", "maps"),
    ],
)
def test_what_cannot_apply_says_what_it_would_need(fitted, network, name, reason):
    with pytest.raises(NotApplicableError, match=f"needs .*{reason}"):
        fitted(network, name)


@pytest.mark.parametrize(("network", "missing"), [("sequential", {"RankFeat"}), ("mlp", {"MCD", "RankFeat"})])
def test_other_networks_are_served_too(toys, fitted, network, missing):
    toy = toys(network)
    forms = {}
    for name in RUN:
        if name not in missing:
            detector = fitted(network, name)
            assert detector.score(toy.inside).shape == (len(toy.inside),)
            forms[name] = detector.form
    assert forms["ASH"] == forms["ReAct"] == "features, as maps of one position"
    assert forms["Gram"] == ("hidden activations" if network == "mlp" else "maps of all blocks")


def test_activations_may_be_negative_only_where_that_makes_sense(toys, fitted):
    assert toys("small-cnn").inside.maps[-1].min() < 0
    assert fitted("small-cnn", "SCALE").form == "features, as maps of one position"
    assert fitted("small-cnn", "ReAct").form == "maps of the last block"
    assert fitted("plain-cnn", "SCALE").form == "maps of the last block"


def test_a_constant_score_is_a_failure(toys):
    toy = toys("sequential")
    fitting = replace(toy.fitting, fit=toy.fitting.fit.select(torch.zeros(20, dtype=torch.long)))
    with pytest.raises(SettingError, match="all of 20 held-out ID images the score"):
        BASELINES["MaxLogit"].detector(fitting)


def test_maps_that_were_not_kept_are_asked_for(toys, fitted):
    with pytest.raises(SettingError, match="keep_maps=True"):
        fitted("small-cnn", "ReAct").score(toys("small-cnn").inside.vectors_only())


def test_logits_of_another_network_and_absent_classes_are_refused(toys):
    values = vars(toys("small-cnn").fitting)
    with pytest.raises(SettingError, match=r"got 2 logits for each training image, expected .* 3 outputs"):
        FitInputs(**values | {"train": values["train"].classes_only(2)})
    with pytest.raises(DataError, match=r"\[0, 1\], expected every one of 0 to 2"):
        FitInputs(**values | {"train_labels": values["train_labels"].clamp_max(1)})


@pytest.mark.parametrize("name", TUNABLE)
def test_tuning_takes_the_best_setting_on_synthetic_outliers(toys, name):
    toy = toys("small-cnn")
    synthetic = toy.outside.select(slice(0, 60))
    settings = BASELINES[name].grid(toy.fitting)
    assert 2 <= len(settings) <= 9
    values = []
    for knobs in settings:
        other = BASELINES[name].detector(toy.fitting, **knobs)
        values.append(auroc(other.score(toy.fitting.fit).numpy(), other.score(synthetic).numpy()))
    detector, chosen = tuned(name, toy.fitting, synthetic)
    assert chosen == settings[values.index(max(values))]
    best = BASELINES[name].detector(toy.fitting, **chosen)
    assert torch.equal(detector.score(toy.outside), best.score(toy.outside))


def test_what_has_no_knobs_cannot_be_tuned(toys):
    with pytest.raises(SettingError, match="nothing to tune; known: MaxSoftmax"):
        tuned("MaxLogit", toys("small-cnn").fitting, toys("small-cnn").outside)
