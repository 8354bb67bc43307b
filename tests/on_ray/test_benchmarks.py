"""Benchmarks on Ray give the bytes that they give without it, whatever is lost on the way."""

from functools import partial

import pandas as pd
import pytest
import ray

from invaudit.benchmarks import leakage
from invaudit.benchmarks.ood import run as run_ood
from invaudit.runtime.executor import ExecutorChoice
from invaudit.runtime.jobs import Job
from invaudit.runtime.ray_jobs import Ray
from tests.on_ray import losing
from tests.verify.conftest import LEAKAGE

# Longer than others may take: clusters start, and Ray has to miss a machine.
pytestmark = [pytest.mark.xdist_group("benchmark"), pytest.mark.slow, pytest.mark.timeout(600)]
ray.cloudpickle.register_pickle_by_value(losing)
ON_RAY = ExecutorChoice("ray")


@pytest.fixture(scope="module")
def leakage_settings():
    return leakage.LeakageBenchmark.model_validate(LEAKAGE)


@pytest.fixture(scope="module")
def leakage_alone(leakage_settings, tmp_path_factory):
    return leakage.run(leakage_settings, tmp_path_factory.mktemp("runs") / "alone", executor=ExecutorChoice("serial"))


@pytest.fixture
def changed_jobs(monkeypatch):
    """Put something around the function of each job on Ray."""

    def change(around):
        run = Ray.run

        def run_changed(executor, jobs):
            return run(executor, [Job(job.key, around(job.function), job.arguments) for job in jobs])

        monkeypatch.setattr(Ray, "run", run_changed)

    return change


def assert_same_numbers(folder, other):
    for file in other.glob("*.csv"):
        tables = [pd.read_csv(run / file.name).drop(columns="seconds", errors="ignore") for run in (folder, other)]
        pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.fixture
def losses(cluster, changed_jobs, tmp_path):
    """One process is killed in the middle of a job, and one machine is taken away under another."""
    machine = cluster.list_all_nodes()[-1]
    changed_jobs(partial(losing.Killed, folder=tmp_path))
    changed_jobs(partial(losing.Stranded, folder=tmp_path, machine=machine.node_id))
    thread = losing.taken_away(cluster, machine, tmp_path)
    yield
    thread.join(60)
    assert (tmp_path / "killed").exists()
    assert len(cluster.list_all_nodes()) == 1


@pytest.mark.usefixtures("losses")
def test_an_ood_run_gives_the_same_numbers_whatever_is_lost(settings, finished, tmp_path):
    assert_same_numbers(run_ood(settings, tmp_path / "run", executor=ON_RAY).folder, finished)


@pytest.mark.usefixtures("losses")
def test_a_leakage_run_gives_the_same_numbers_whatever_is_lost(leakage_settings, leakage_alone, tmp_path):
    assert_same_numbers(leakage.run(leakage_settings, tmp_path / "run", executor=ON_RAY), leakage_alone)
