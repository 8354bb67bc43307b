"""An audit is the same by a distance as by a similarity, and a part that fails is a row."""

import numpy as np
import pytest
import torch
from torch import nn

from invaudit.audit.method import AuditSetup, audit_method
from invaudit.audit.metrics import MetricSet, make_metrics
from invaudit.audit.pools import describe_pool
from invaudit.audit.settings import AuditSettings, MetricChoice, TargetAuditSettings
from invaudit.audit.target import audit_target, membership_signals
from invaudit.data import seeded_rng
from invaudit.data.digits import digits
from invaudit.leakage import Pool, Reconstructions, degraded_copies
from invaudit.models import InputSpec, Target
from invaudit.similarity import make_metric
from invaudit.stats import Pairs
from tests.leakage.short_runs import new_target, short_settings

pytestmark = pytest.mark.slow

STAGE = {"seed": 0, "stage": "tests"}
RULE = AuditSettings.model_validate({"metrics": {"ssim": None}})


class Distance:
    """SSIM turned round: the lower, the more alike."""

    better = "lower"

    def __init__(self) -> None:
        self.ssim = make_metric("ssim")
        self.device = self.ssim.device
        self.name, self.label, self.key = "distance", "1 - SSIM", "1 - " + self.ssim.key
        self.embed = self.ssim.embed

    def screen(self, queries):
        compare = self.ssim.screen(queries)

        def turned(gallery):
            values, error = compare(gallery)
            return 1 - values, error

        return turned

    def exact(self, queries, gallery):
        return 1 - self.ssim.exact(queries, gallery)


def ready(metrics):
    return MetricSet(tuple(metrics), metrics, {})


@pytest.fixture(scope="module")
def pool():
    data = digits()
    order = torch.randperm(len(data), generator=seeded_rng(0, "audits"))
    design = Pairs(np.arange(40) % 2 == 0, np.arange(40) // 2)
    return Pool(data.subset(order[:40]), design, 10, reference=data.floats(order[40:140]))


def test_an_audit_by_a_distance_is_the_one_by_the_similarity(pool):
    metrics = ready({"ssim": make_metric("ssim"), "distance": Distance()})
    copies = degraded_copies(pool.floats[:24:2], seeded_rng(0, "copies"), blur=0.5, noise=0.05)
    reconstructions = Reconstructions(copies, torch.full((12,), -1), torch.arange(12) // 6, "given")
    setup = AuditSetup(pool, metrics, **STAGE, draws=199)
    audit = audit_method("given", lambda: reconstructions, setup)
    ssim, distance = audit.tests["ssim"], audit.tests["distance"]
    assert distance.distinct_hits == ssim.distinct_hits == 12
    assert distance.similarity_member == pytest.approx(1 - ssim.similarity_member)
    assert distance.similarity_control == pytest.approx(1 - ssim.similarity_control)
    assert distance.p_value < 0.05
    members = [measured.result.auroc for measured in audit.memberships.values()]
    assert members[0] == members[1] > 0.7
    limits = describe_pool(setup, [12], RULE).limits
    assert all(limit.status == "ok" for limit in limits.values())
    # Each has draws of its own: the limits need not be the same, but a sign turned round would give none.
    assert limits["distance/12"].members == pytest.approx(limits["ssim/12"].members, abs=2)


def test_a_metric_that_cannot_be_computed_is_rows_with_the_reason(pool):
    too_small = ready({"ssim": make_metric("ssim", resize=4)})
    setup = AuditSetup(pool, too_small, **STAGE, draws=99)
    limits = describe_pool(setup, [3, 5], RULE).limits
    assert [limit.status for limit in limits.values()] == ["failed", "failed"]
    assert all("at least 5" in limit.reason for limit in limits.values())
    reconstructions = Reconstructions(pool.floats[:9], torch.full((9,), -1), torch.zeros(9, dtype=torch.int64), "given")
    audit = audit_method("given", lambda: reconstructions, setup)
    ended = audit.tests["ssim"], audit.memberships["ssim"].result
    assert all(result.status == "failed" and "at least 5" in result.reason for result in ended)


def test_a_metric_that_cannot_be_had_is_rows_with_the_reason(pool):
    metrics = make_metrics(
        {"cosine": MetricChoice(), "ssim": MetricChoice()}, None, torch.device("cpu"), download=False
    )
    assert metrics.names == ("cosine", "ssim")
    assert [row.metric for row in metrics.rows().values()] == ["ssim"]
    reconstructions = Reconstructions(pool.floats[:9], torch.full((9,), -1), torch.zeros(9, dtype=torch.int64), "given")
    audit = audit_method("given", lambda: reconstructions, AuditSetup(pool, metrics, **STAGE, draws=99))
    assert (audit.tests["cosine"].status, audit.tests["ssim"].status) == ("failed", "ok")
    assert "reference" in audit.memberships["cosine"].result.reason


def test_a_method_without_images_is_rows_that_say_how_it_ended(pool):
    nothing = Reconstructions(
        torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), "diverged",
        message="all restarts",
    )  # fmt: skip
    setup = AuditSetup(pool, ready({"ssim": make_metric("ssim")}), **STAGE, draws=99)
    audit = audit_method("kkt", lambda: nothing, setup)
    assert (audit.outcome.n, audit.outcome.outcome, audit.outcome.status) == (0, "diverged", "failed")
    assert audit.tests["ssim"].reason == audit.memberships["ssim"].result.reason == "diverged: all restarts"
    assert audit.papers_count is None
    assert not audit.arrays


def test_the_pool_and_the_reconstructions_are_embedded_once_for_each_metric(pool, monkeypatch):
    metric = make_metric("ssim")
    embedded = []
    embed = metric.embed
    monkeypatch.setattr(metric, "embed", lambda images: (embedded.append(len(images)), embed(images))[1])
    fresh = Pool(pool.images, pool.design, 10, reference=pool.reference)
    copies = degraded_copies(pool.floats[:24:2], seeded_rng(0, "copies"), blur=0.5, noise=0.05)
    reconstructions = Reconstructions(copies, torch.full((12,), -1), torch.arange(12) // 6, "given")
    setup = AuditSetup(fresh, ready({"ssim": metric}), **STAGE, draws=99)
    audit_method("given", lambda: reconstructions, setup)
    describe_pool(setup, [], RULE)
    # One image tells how much memory all of them would take; then the pool, the reconstructions, the copies.
    assert sorted(embedded) == [1, 1, 12, 40, 40]


@pytest.mark.parametrize("kind", ["kkt", "generator", "deepinversion"])
def test_an_audit_that_is_done_leaves_no_state_of_its_searches(pool, kind, tmp_path):
    (tmp_path / "other").mkdir()
    methods = {name: {"kind": kind, "settings": short_settings(kind)} for name in ("one", "two")}
    rule = {"methods": methods, "metrics": {"ssim": {}}, "attribution": False, "draws": 199, "device": "cpu"}
    settings = TargetAuditSettings.model_validate(rule)
    audit = audit_target(new_target("mlp-9"), pool, settings, name="mlp", work=tmp_path)
    assert [outcome.status for outcome in audit.record.methods.values()] == ["ok", "ok"]
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_a_layer_that_is_not_called_costs_the_gradients_alone(pool):
    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Linear(5, 5)
            self.head = nn.Linear(64, 10)

        def forward(self, images):
            return self.head(images.flatten(1))

    target = Target(Unused().eval(), InputSpec(1, 8, 8), 10)
    setup = AuditSetup(pool, ready({}), **STAGE, draws=99)
    results = {name: scores.result for name, scores in membership_signals(target, setup, attribution=False).items()}
    assert {name: result.status for name, result in results.items()} == {
        "loss": "ok",
        "margin": "ok",
        "gradient-norm": "not-applicable",
    }
    assert "'spare' is not called" in results["gradient-norm"].reason
