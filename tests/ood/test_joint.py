from dataclasses import replace

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from pytorch_ood.detector import GEN
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from invaudit.data import FAMILIES, load
from invaudit.models import Activations, InputSpec, Target, build
from invaudit.ood import PARTS, Joint, parts, synthetic_activations
from invaudit.ood.joint import Scale, told
from invaudit.ood.parts import (
    FORMER_PARTS,
    classes_state,
    density_score,
    density_state,
    energy_score,
    gen_score,
    kth_distance,
    nearest_score,
    nearest_state,
    relative_score,
    relative_state,
    residual_score,
    residual_state,
    whitened_score,
    whitened_state,
)
from invaudit.runtime import ModelError, SettingError

CLASSES, WIDTH = 3, 6


def sample(n, seed, shift=0.0):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % CLASSES
    centres = 4 * torch.eye(CLASSES, WIDTH)[labels]
    features = centres + torch.randn(n, WIDTH, generator=rng) + shift
    logits = torch.cat([features[:, :CLASSES], shift + torch.randn(n, 1, generator=rng)], 1)
    moments = torch.cat([features, features.abs()], 1)
    return Activations(torch.zeros(n, 1, 8, 8), logits, features, (), (moments, moments * 2)), labels


OUTLIERS = {"near": sample(60, 7, shift=0.3)[0], "far": sample(60, 8, shift=2.0)[0]}


def fit(train, labels, *, outliers=OUTLIERS, held_out=None, garbage=True):
    """Return a joint that is fitted to training images, by the other draws of this file unless others are given."""
    found = held_out or sample(120, 1)[0]
    return Joint().fit_parts(train, labels, held_out=found, outliers=outliers, garbage=garbage)


@pytest.fixture(scope="module")
def fitted():
    train, labels = sample(600, 0)
    return fit(train, labels)


def test_nearest_part_agrees_with_scikit_learn():
    (train, labels), (found, _) = sample(300, 0), sample(20, 2)
    unit = lambda x: (x / x.norm(dim=1, keepdim=True)).double().numpy()  # noqa: E731
    reference = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(unit(train.features))
    distances, _ = reference.kneighbors(unit(found.features))
    scores = nearest_score(nearest_state(train.features, labels), found.features)
    np.testing.assert_allclose(scores.numpy(), distances[:, 0], rtol=1e-5)


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("spread", [1.0, 1e-4], ids=["wide", "closer together than float32 can order"])
def test_nearest_distances_are_exact_for_copies_and_for_far_queries(k, spread):
    rng = torch.Generator().manual_seed(0)
    bank = torch.randn(16, generator=rng) + spread * torch.randn(700, 16, generator=rng)
    bank[1:3] = bank[0]
    others = bank.double() + 0.1 * spread * torch.randn(700, 16, generator=rng)
    queries = torch.cat([bank.double(), others, 1e4 * bank.flip(1).double()])
    expected = np.sort(cdist(queries.numpy(), bank.double().numpy()), axis=1)[:, k - 1]
    found = kth_distance(queries, bank, k)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)
    alone = torch.cat([kth_distance(query[None], bank, k) for query in others[:50]])
    np.testing.assert_allclose(alone.numpy(), found[700:750].numpy(), rtol=1e-9)


def test_whitened_part_is_the_least_mahalanobis_distance_to_a_training_vector():
    train, labels = sample(300, 0)
    queries = sample(20, 2)[0].features
    vectors, others = train.features.double().numpy(), queries.double().numpy()
    scale = vectors.std(0)
    within = sum(
        np.cov((vectors[labels == k] / scale).T, bias=True) * (labels == k).numpy().mean() for k in range(CLASSES)
    )
    inverse = np.linalg.inv(within + 0.3 * np.trace(within) / WIDTH * np.eye(WIDTH))
    expected = cdist(others / scale, vectors / scale, "mahalanobis", VI=inverse).min(1)
    found = whitened_score(whitened_state(train.features, labels), queries)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_density_part_ranks_like_the_local_outlier_factor():
    train, labels = sample(300, 0)
    queries = torch.cat([sample(60, 2)[0].features, sample(60, 3, shift=2.0)[0].features])
    state = density_state(train.features, labels)
    whiten = lambda x: (((x.double() - state["mean"]) / state["scale"]) @ state["map"]).numpy()  # noqa: E731
    reference = LocalOutlierFactor(n_neighbors=5, novelty=True, algorithm="brute").fit(whiten(train.features))
    expected = -reference.score_samples(whiten(queries))
    assert scipy.stats.spearmanr(density_score(state, queries).numpy(), expected).statistic > 0.95


def test_residual_part_agrees_with_principal_components_of_scikit_learn():
    draws = np.random.default_rng(0)
    train = draws.normal(size=(400, 3)) @ draws.normal(size=(3, 8)) + 0.05 * draws.normal(size=(400, 8))
    queries = 2 * draws.normal(size=(30, 8))
    standard, others = ((values - train.mean(0)) / train.std(0) for values in (train, queries))
    principal = PCA().fit(standard)
    few = principal.explained_variance_ratio_[::-1].cumsum() <= 0.02
    assert 1 < few.sum() < 8
    expected = np.linalg.norm(principal.transform(others)[:, ::-1][:, few], axis=1)
    found = residual_score(residual_state(torch.from_numpy(train), torch.zeros(400)), torch.from_numpy(queries))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8)


def test_a_channel_that_never_moves_does_no_harm():
    train, labels = sample(300, 0)
    still = torch.cat([train.features, torch.full((300, 1), 3.0)], 1)
    query = torch.cat([sample(20, 2)[0].features, torch.full((20, 1), 3.0)], 1)
    moved = query.clone()
    moved[:, -1] += 1
    for state, score in (
        (whitened_state(still, labels), whitened_score),
        (density_state(still, labels), density_score),
        (residual_state(still, labels), residual_score),
        (relative_state(still, labels), relative_score),
    ):
        found = score(state, query)
        assert found.isfinite().all()
        assert (score(state, moved) >= found).all()


def test_copies_of_a_training_image_do_not_make_their_surroundings_endlessly_dense():
    train, labels = sample(300, 0)
    vectors = train.features.clone()
    vectors[:30:CLASSES] = vectors[0]
    beside = vectors[:1] + 0.1
    assert float(density_score(density_state(vectors, labels), beside)) < 1e4


@pytest.mark.parametrize("n", [1, 4])
def test_a_handful_of_training_images_is_enough(n):
    train, labels = sample(n, 0)
    queries = sample(20, 2)[0].features
    for state, score in (
        (nearest_state(train.features, labels), nearest_score),
        (whitened_state(train.features, labels), whitened_score),
        (density_state(train.features, labels), density_score),
        (residual_state(train.features, labels), residual_score),
        (relative_state(train.features, labels), relative_score),
    ):
        assert score(state, queries).isfinite().all()


def test_a_bank_is_spread_over_all_training_images(monkeypatch):
    monkeypatch.setattr(parts, "BANK", 10)
    train, labels = sample(100, 0)
    bank = nearest_state(train.features, labels)["bank"]
    assert len(bank) == 10
    ends = nearest_score({"bank": bank}, train.features[[0, -1]])
    torch.testing.assert_close(ends, torch.zeros_like(ends), atol=1e-6, rtol=0)


def test_scale_rises_is_continuous_and_never_ties_far_out():
    reference = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sort().values
    values = torch.linspace(-6, 12, 20_000, dtype=torch.float64)
    scaled = Scale(reference)(values)
    steps = scaled.diff()
    assert (steps > 0).all()
    assert float(steps.max()) < 0.05
    # Exponential upper tail: the scaled values of exponential data are again exponential with mean 1.
    exponential = torch.from_numpy(np.random.default_rng(0).exponential(size=4_000)).sort().values
    again = torch.from_numpy(np.random.default_rng(1).exponential(size=4_000))
    assert float(Scale(exponential)(again).mean()) == pytest.approx(1.0, abs=0.05)


def test_scale_is_finite_where_all_held_out_scores_are_one():
    values = torch.tensor([0.0, 1e-3, 1.0, 1e6], dtype=torch.float64)
    scaled = Scale(torch.zeros(100, dtype=torch.float64))(values)
    assert scaled.isfinite().all()
    assert (scaled.diff() > 0).all()


def test_scale_does_not_fall_where_held_out_scores_are_equal():
    below, above = torch.linspace(0, 0.5, 85), torch.linspace(1.5, 2, 5)
    reference = torch.cat([below, torch.ones(10), above]).double()
    values = torch.cat([torch.linspace(0, 3, 3_001, dtype=torch.float64), torch.tensor([1.000001])]).sort().values
    assert (Scale(reference)(values).diff() >= 0).all()


def test_energy_part_leaves_the_garbage_class_out():
    train, labels = sample(300, 0)
    queries = sample(20, 2, shift=1.0)[0].logits
    expected = -scipy.special.logsumexp(queries[:, :CLASSES].double().numpy(), axis=1)
    for logits in (queries, queries[:, :CLASSES]):
        found = energy_score(classes_state(train.logits[:, : logits.shape[1]], labels), logits)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_generalised_entropy_agrees_with_pytorch_ood():
    train, labels = sample(300, 0)
    queries = sample(20, 2, shift=1.0)[0].logits
    for logits in (queries, queries[:, :CLASSES]):
        found = gen_score(classes_state(train.logits[:, : logits.shape[1]], labels), logits)
        # Theirs is the mean over the classes.
        expected = CLASSES * GEN.score(logits[:, :CLASSES].double(), gamma=0.1)
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)


def test_generalised_entropy_reads_the_largest_hundred_of_many_classes():
    logits = torch.randn(5, 300, generator=torch.Generator().manual_seed(0))
    found = gen_score({"classes": torch.tensor(300)}, logits)
    expected = 100 * GEN.score(logits.double(), gamma=0.1, M=100)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("garbage", [True, False])
def test_gradient_norm_is_that_of_a_backward_pass(garbage):
    train, labels = sample(300, 0)
    queries = sample(20, 2, shift=1.0)[0]
    queries = queries if garbage else queries.classes_only(CLASSES)
    part = PARTS["gradient-norm"]
    found = part.score(part.fit(part.read(train), labels), part.read(queries))
    for features, logits, score in zip(queries.features, queries.logits[:, :CLASSES], found, strict=True):
        # A head that gives these logits for these features.
        weights = torch.outer(logits, features).double() / features.double().square().sum()
        weights.requires_grad_()
        equal = torch.full((CLASSES,), 1 / CLASSES, dtype=torch.float64)
        torch.nn.functional.cross_entropy(weights @ features.double(), equal).backward()
        assert float(score) == pytest.approx(-float(weights.grad.abs().sum()), rel=1e-5)


def test_relative_mahalanobis_is_the_nearest_class_less_all_images():
    train, labels = sample(300, 0)
    vectors, queries = train.features.double().numpy(), sample(20, 2)[0].features.double().numpy()
    middle, scale = vectors.mean(0), vectors.std(0)
    standard, others = (vectors - middle) / scale, (queries - middle) / scale
    centres = np.stack([standard[labels == k].mean(0) for k in range(CLASSES)])

    def squares(centred, to):
        """Squared Mahalanobis distance of the queries to some centres, by a covariance with a ridge."""
        covariance = np.cov(centred.T, bias=True)
        inverse = np.linalg.inv(covariance + 0.05 * np.trace(covariance) / WIDTH * np.eye(WIDTH))
        return cdist(others, to, "mahalanobis", VI=inverse) ** 2

    expected = squares(standard - centres[labels], centres).min(1) - squares(standard, np.zeros((1, WIDTH)))[:, 0]
    found = relative_score(relative_state(train.features, labels), torch.from_numpy(queries))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_early_blocks_are_all_but_the_last(blocks):
    found = replace(sample(5, 0)[0], moments=tuple(torch.full((5, 2 + i), float(i)) for i in range(blocks)))
    read = PARTS["nearest-early-whitened"].read(found)
    assert read.unique().tolist() == [float(i) for i in range(max(1, blocks - 1))]


CLASS_BRANCH = ("garbage", "generalised-entropy", "gradient-norm", "relative-mahalanobis", "nearest-head")
PICTURE_BRANCH = ("nearest-first", "nearest-early-whitened", "nearest-last", "density-last", "residual-head")


def test_joint_is_the_weighted_sum_of_the_means_of_both_branches(fitted):
    found = Activations.cat([sample(50, 4)[0], sample(50, 5, shift=1.5)[0]])
    parts = fitted.score_parts(found)
    assert set(parts) == {*CLASS_BRANCH, *PICTURE_BRANCH}
    means = []
    for branch in (CLASS_BRANCH, PICTURE_BRANCH):
        scaled = [Scale(fitted.state[name]["reference"])(parts[name]).numpy() for name in branch]
        means.append(np.average(scaled, axis=0, weights=[fitted.part_weights[name] for name in branch]))
    classes, picture = fitted.branch_weights.numpy()
    assert classes != picture
    np.testing.assert_allclose(fitted.score(found).numpy(), classes * means[0] + picture * means[1], rtol=1e-9)


@pytest.mark.parametrize("kept", [True, False])
def test_a_branch_weighs_the_root_of_what_it_tells_of_outliers_that_keep_the_picture(kept):
    train, labels = sample(600, 0)
    held_out = sample(120, 1)[0]
    outliers = {"class-mix": OUTLIERS["near"], "blobs": OUTLIERS["far"]} if kept else OUTLIERS
    joint = fit(train, labels, outliers=outliers)
    of_branch = joint.branch_weights
    names = ["class-mix"] if kept else list(OUTLIERS)
    for branch, weight in zip((CLASS_BRANCH, PICTURE_BRANCH), of_branch, strict=True):
        # With the other branch left out, the joint is the mean of this one.
        joint.branch_weights = torch.tensor([float(branch is one) for one in (CLASS_BRANCH, PICTURE_BRANCH)]).double()
        means = {name: joint.score(outliers[name]) for name in names}
        assert float(weight) == pytest.approx(np.sqrt(told(joint.score(held_out), means)))


def test_parts_weigh_what_they_tell(fitted):
    held_out, families = fitted.score_parts(sample(120, 1)[0]), OUTLIERS.values()
    outliers = [fitted.score_parts(found) for found in families]
    for name, weight in fitted.part_weights.items():
        errors = [
            1 - roc_auc_score([0] * 120 + [1] * 60, torch.cat([held_out[name], scores[name]]).numpy())
            for scores in outliers
        ]
        assert weight == pytest.approx(max(np.mean([np.log(0.5 / max(error, 1e-4)) for error in errors]), 0.1) ** 2)


@pytest.mark.parametrize(("shift", "weight"), [(9.0, np.log(5_000)), (-9.0, 0.1)])
def test_no_score_tells_all_or_nothing(shift, weight):
    inside = torch.arange(50.0)
    assert told(inside, {"one": 10 * shift + inside}) == pytest.approx(weight)


def test_a_part_that_tells_nothing_hardly_counts():
    train, labels = sample(600, 0)
    rng = torch.Generator().manual_seed(9)

    def blind(found):
        # The features tell nothing here; the logits and the moments are as they were.
        return replace(found, features=torch.randn(found.features.shape, generator=rng))

    held_out, far = sample(120, 1)[0], sample(60, 8, shift=4.0)[0]
    joint = fit(blind(train), labels, held_out=blind(held_out), outliers={"far": blind(far)})
    assert joint.part_weights["residual-head"] < 0.3 < 1 < joint.part_weights["density-last"]


def test_outliers_that_weigh_are_those_of_the_families():
    images = load("digits")
    target = Target(build("mlp-20", InputSpec(1, 8, 8, (0.5,), (0.5,)), 10), InputSpec(1, 8, 8, (0.5,), (0.5,)), 10)
    found = synthetic_activations(target.eval(), images)
    assert list(found) == list(FAMILIES)
    assert {len(one) for one in found.values()} == {200}
    again = synthetic_activations(target, images)
    assert all(torch.equal(found[name].logits, again[name].logits) for name in FAMILIES)


def test_joint_separates_and_does_not_depend_on_the_batch(fitted):
    inside, outside = sample(200, 5)[0], sample(200, 6, shift=2.0)[0]
    scores = torch.cat([fitted.score(inside), fitted.score(outside)])
    assert scores.dtype == torch.float64
    assert roc_auc_score([0] * 200 + [1] * 200, scores.numpy()) > 0.97
    alone = torch.cat([fitted.score(inside.select(slice(i, i + 1))) for i in range(20)])
    torch.testing.assert_close(alone, fitted.score(inside)[:20])


def test_joint_without_garbage_has_no_garbage_part():
    train, labels = sample(300, 0)
    others = {name: found.classes_only(CLASSES) for name, found in {**OUTLIERS, "id": sample(100, 1)[0]}.items()}
    held_out = others.pop("id")
    joint = fit(train.classes_only(CLASSES), labels, held_out=held_out, outliers=others, garbage=False)
    assert tuple(joint.state) == tuple(name for name in PARTS if name != "garbage")


def test_state_survives_a_round_trip(fitted):
    found = sample(50, 4)[0]
    again = Joint().load_state_dict({name: value.clone() for name, value in fitted.state_dict().items()}, found)
    assert torch.equal(again.score(found), fitted.score(found))


def former(fitted):
    """Return the state that an earlier version would have had: its parts, and no weights of branches."""
    state = {name: value for name, value in fitted.state_dict().items() if name.split(".")[0] in FORMER_PARTS}
    train, labels = sample(600, 0)
    for name in FORMER_PARTS.keys() - PARTS.keys():
        part = FORMER_PARTS[name]
        own = part.fit(part.read(train), labels)
        own["reference"] = part.score(own, part.read(sample(120, 1)[0])).sort().values
        own["weight"] = torch.tensor(1.5, dtype=torch.float64)
        state |= {f"{name}.{field}": value for field, value in own.items()}
    return state


def test_a_detector_of_an_earlier_version_scores_as_it_did_the_weighted_sum_of_its_parts(fitted):
    found = sample(50, 4)[0]
    joint = Joint().load_state_dict(former(fitted), found)
    parts = joint.score_parts(found)
    assert parts.keys() == FORMER_PARTS.keys()
    scaled = [
        joint.part_weights[name] * Scale(joint.state[name]["reference"])(values) for name, values in parts.items()
    ]
    torch.testing.assert_close(joint.score(found), torch.stack(scaled).sum(0))
    again = Joint().load_state_dict(joint.state_dict(), found)
    assert torch.equal(again.score(found), joint.score(found))
    train, labels = sample(600, 0)
    joint.fit_parts(train, labels, held_out=sample(120, 1)[0], outliers=OUTLIERS, garbage=True)
    assert torch.equal(joint.score(found), fitted.score(found))


def spoilt(field, change):
    """Return a change of one tensor of a state."""
    return lambda state: {**state, field: change(state[field])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {**state, "gaussian.means": torch.zeros(1)}, "got the parts 'gaussian'"),
        (lambda _: {}, "got the parts nothing"),
        (lambda state: {k: v for k, v in state.items() if "entropy" not in k}, "lacks the parts 'generalised-entropy'"),
        (lambda state: {k: v for k, v in state.items() if not k.endswith("weight")}, "garbage has .*; fit it again"),
        (lambda state: {**state, "gradient-norm.more": torch.zeros(1)}, "gradient-norm has .* 'more'"),
        (spoilt("gradient-norm.weight", lambda value: value.view(1)), r"weight has shape \(1,\), expected \(\)"),
        (spoilt("gradient-norm.weight", lambda value: -value), "weight has values from -"),
        (spoilt("gradient-norm.weight", lambda value: value * torch.nan), "weight has values from nan"),
        (
            spoilt("gradient-norm.weight", lambda value: value.float()),
            "weight has type torch.float32, expected torch.float64",
        ),
        (spoilt("generalised-entropy.classes", lambda value: value + 5), r"entropy\.classes is \d+, the network gives"),
        (spoilt("generalised-entropy.classes", lambda value: value * 0), r"entropy\.classes is 0"),
        (spoilt("gradient-norm.reference", lambda value: value.flip(0)), "ascending"),
        (spoilt("gradient-norm.reference", lambda value: value[:5]), "fewer than 30"),
        (spoilt("nearest-head.bank", lambda value: value[:0]), r"bank has shape \(0, "),
        (spoilt("nearest-head.bank", lambda value: value[:, :1]), r"bank has shape \(\d+, 1\), expected \('M', \d+\)"),
        (spoilt("nearest-head.bank", lambda value: value.long()), "bank has type torch.int64"),
        (spoilt("density-last.own", lambda value: value[:-1]), r"own has shape"),
        (spoilt("density-last.scale", lambda value: value * 0), "scale has values from 0"),
        (spoilt("branches", lambda value: -value), r"branches is \[-\d.*, expected 2 positive numbers"),
        (spoilt("branches", lambda value: value.float()), "branches is .*, expected 2 positive numbers"),
        (spoilt("branches", lambda value: value[:1]), "branches is .*, expected 2 positive numbers"),
        (
            lambda state: {k: v for k, v in state.items() if k != "branches"},
            "got the parts 'generalised-entropy', 'gradient-norm', 'nearest-early-whitened', 'relative-mahalanobis'",
        ),
        (spoilt("relative-mahalanobis.centres", lambda value: value[:, 1:]), r"centres has shape"),
        (spoilt("relative-mahalanobis.background", lambda value: value[1:]), r"background has shape"),
        (spoilt("residual-head.map", lambda value: value[0]), r"map has shape"),
    ],
)
def test_a_state_that_no_part_could_have_is_refused(fitted, change, message):
    with pytest.raises(ModelError, match=message):
        Joint().load_state_dict(change(fitted.state_dict()), sample(1, 4)[0])


def test_a_bank_is_stored_in_half_the_size_and_loses_nothing_that_counts(fitted):
    assert fitted.state_dict()["nearest-head.bank"].dtype == torch.float32
    train, labels = sample(600, 0)
    queries = sample(50, 4)[0].features
    state = whitened_state(train.features.double(), labels)
    exact = state | {"bank": ((train.features.double() - state["mean"]) / state["scale"]) @ state["map"]}
    torch.testing.assert_close(whitened_score(state, queries), whitened_score(exact, queries), rtol=1e-6, atol=1e-6)


def test_a_bank_is_converted_once_and_scores_as_the_stored_one(fitted):
    found, stored = sample(50, 4)[0], fitted.state_dict()
    for name in ("nearest-first", "nearest-early-whitened", "nearest-last", "density-last", "nearest-head"):
        state, part = fitted.state[name], PARTS[name]
        assert state["bank"].dtype == torch.float64
        as_stored = state | {"bank": stored[f"{name}.bank"]}
        assert torch.equal(part.score(state, part.read(found)), part.score(as_stored, part.read(found)))


def test_too_few_held_out_images_are_refused():
    train, labels = sample(300, 0)
    with pytest.raises(SettingError, match="got 10 held-out"):
        fit(train, labels, held_out=sample(10, 1)[0])


def test_what_cannot_be_weighed_is_refused():
    train, labels = sample(300, 0)
    with pytest.raises(SettingError, match="no family of synthetic outliers"):
        fit(train, labels, outliers={})
    few = labels != CLASSES - 1
    with pytest.raises(SettingError, match="without class 2, expected images of each of the network's 3"):
        fit(train.select(few), labels[few])
    with pytest.raises(SettingError, match="without class 0, expected"):
        fit(train, labels + 1)


def test_what_is_not_fitted_gives_no_scores():
    with pytest.raises(SettingError, match="not fitted"):
        Joint().score(sample(20, 0)[0])
