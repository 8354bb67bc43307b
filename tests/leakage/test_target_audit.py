"""An audit is the same by a distance as by a similarity, and a part that fails is a row."""

import numpy as np
import pytest
import torch
from torch import nn

from invaudit.data import seeded_rng
from invaudit.data.digits import digits
from invaudit.leakage import Audit, Reconstructions, degraded_copies, describe_pool
from invaudit.models import InputSpec, Target
from invaudit.similarity import make_metric
from invaudit.stats import Pairs

WHERE = {"seed": 0, "stage": "tests"}
RULE = {"alpha": 0.01, "family": 1, "blur": 0.8, "noise": 0.1}


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


@pytest.fixture(scope="module")
def pool():
    data = digits()
    order = torch.randperm(len(data), generator=seeded_rng(0, "audits"))
    design = Pairs(np.arange(40) % 2 == 0, np.arange(40) // 2)
    return data.floats(order[:40]), data.labels[order[:40]], design, data.floats(order[40:140])


def test_an_audit_by_a_distance_is_the_one_by_the_similarity(pool):
    images, labels, design, reference = pool
    metrics = {"ssim": make_metric("ssim"), "distance": Distance()}
    audit = Audit(images, labels, design, metrics, **WHERE, draws=199)
    copies = degraded_copies(images[:24:2], seeded_rng(0, "copies"), blur=0.5, noise=0.05)
    audit.method("given", lambda: Reconstructions(copies, torch.full((12,), -1), torch.arange(12) // 6, "given"))
    ssim, distance = (audit.record["tests"]["given"][name] for name in metrics)
    assert distance["distinct_hits"] == ssim["distinct_hits"] == 12
    assert distance["similarity_member"] == pytest.approx(1 - ssim["similarity_member"])
    assert distance["similarity_control"] == pytest.approx(1 - ssim["similarity_control"])
    assert distance["p_value"] < 0.05
    members = [audit.record["membership"][f"given:{name}"]["auroc"] for name in metrics]
    assert members[0] == members[1] > 0.7
    limits = describe_pool(images, design, reference, metrics, [12], **WHERE, **RULE)["limits"]
    assert all(row["status"] == "ok" for row in limits.values())
    # Each has draws of its own: the limits need not be the same, but a sign turned round would give none.
    assert limits["distance/12"]["members"] == pytest.approx(limits["ssim/12"]["members"], abs=2)


def test_a_metric_that_cannot_be_computed_is_rows_with_the_reason(pool):
    images, _, design, reference = pool
    limits = describe_pool(images, design, reference, {"ssim": make_metric("ssim", resize=4)}, [3, 5], **WHERE, **RULE)
    assert [row["status"] for row in limits["limits"].values()] == ["failed", "failed"]
    assert all("at least 5" in row["reason"] for row in limits["limits"].values())


def test_a_layer_that_is_not_called_costs_the_gradients_alone(pool):
    images, labels, design, _ = pool

    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Linear(5, 5)
            self.head = nn.Linear(64, 10)

        def forward(self, images):
            return self.head(images.flatten(1))

    target = Target(Unused().eval(), InputSpec(1, 8, 8), 10)
    audit = Audit(images, labels, design, {}, **WHERE, draws=99)
    audit.signals(target, attribution=False)
    found = {name: row["status"] for name, row in audit.record["membership"].items()}
    assert found == {"loss": "ok", "margin": "ok", "gradient-norm": "not-applicable"}
    assert "'spare' is not called" in audit.record["membership"]["gradient-norm"]["reason"]
