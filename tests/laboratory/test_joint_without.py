import numpy as np
import pytest

from benchmarks.choices.joint_without import joined
from invaudit.benchmarks.ood.settings import ID_TEST
from invaudit.benchmarks.ood.stored import read_jobs
from invaudit.stats import auroc

pytestmark = pytest.mark.slow


def test_one_part_ranks_as_it_does_alone_and_all_parts_nearly_as_joint(finished, settings):
    for job in read_jobs(finished, settings):
        if not (parts := list(job.record.weights)):
            continue
        for part in parts:
            alone = auroc(joined(job, [part], ID_TEST), joined(job, [part], "letters"))
            assert alone == pytest.approx(auroc(*job.pair(f"joint/{part}", "letters")), abs=1e-9)
            scaled, weighed = (joined(job, [part], "letters", equal=equal) for equal in (True, False))
            np.testing.assert_allclose(weighed, scaled * job.record.weights[part])
        together = auroc(joined(job, parts, ID_TEST), joined(job, parts, "letters"))
        assert together == pytest.approx(auroc(*job.pair("joint", "letters")), abs=0.01)
