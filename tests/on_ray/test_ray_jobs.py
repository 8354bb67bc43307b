"""The executor on Ray: results, logs and errors of jobs, and what becomes of those whose worker is lost."""

import logging
import os
import signal
import sys
from types import SimpleNamespace

import pytest
import ray

from invaudit.models.workers import computed_with, start_executor
from invaudit.runtime import ray_jobs
from invaudit.runtime.errors import ConfigError, InputError, ModelError, SettingError
from invaudit.runtime.executor import ExecutorChoice
from invaudit.runtime.jobs import TRIES, Job, run_jobs
from invaudit.runtime.ray_jobs import JobNeeds, Place

pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.slow]
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def add(a, b, *, device):
    return a + b, device


def process(**_):
    return os.getpid()


def say(text, *, device):
    logging.getLogger("invaudit.test").info("%s on %s", text, device)


def fail(error, **_):
    logging.getLogger("invaudit.test").warning("this goes wrong")
    raise error


def die(marker, times, **_):
    with marker.open("a") as file:
        file.write("x")
    if len(marker.read_text()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    with start_executor(ExecutorChoice("ray", workers=2), "cpu", [], tmp_path_factory.mktemp("run")) as started:
        yield started


def test_every_job_gives_its_result_under_its_key(executor):
    jobs = [Job(f"job-{k}", add, (k, 1)) for k in range(5)]
    assert dict(executor.run(jobs)) == {f"job-{k}": (k + 1, "cpu") for k in range(5)}
    assert list(executor.run([])) == []


def test_jobs_are_done_by_as_many_processes_as_there_are_cores(executor):
    assert executor.workers == 2
    places = {place for _, place in executor.run([Job(str(k), process, ()) for k in range(8)])}
    assert os.getpid() not in places


def test_its_environment_is_that_of_the_workers(executor):
    assert executor.environment == computed_with("cpu")


def test_what_jobs_log_reaches_the_loggers_here(executor, caplog):
    with caplog.at_level(logging.INFO, "invaudit"):
        list(executor.run([Job("a", say, ("hello",))]))
    assert "hello on cpu" in caplog.text


def test_an_error_of_a_job_is_raised_here_with_what_was_logged_before(executor, caplog):
    with caplog.at_level(logging.INFO, "invaudit"), pytest.raises(ModelError, match="weights are torn"):
        list(executor.run([Job("a", fail, (ModelError("weights are torn"),))]))
    assert "this goes wrong" in caplog.text
    with pytest.raises(ZeroDivisionError) as caught:
        list(executor.run([Job("a", fail, (ZeroDivisionError(),))]))
    assert "in fail" in caught.value.__notes__[0]


class UnsendableError(Exception):
    """Can be pickled, and not unpickled."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def end(**_):
    sys.exit(3)


def fail_unsendable(**_):
    raise UnsendableError("this", "that")


@pytest.mark.parametrize(
    ("function", "message"), [(fail_unsendable, "UnsendableError: this and that"), (end, "SystemExit: 3")]
)
def test_an_error_that_cannot_be_sent_is_raised_by_its_text(executor, function, message):
    with pytest.raises(RuntimeError, match=message):
        list(executor.run([Job("a", function, ())]))


def test_a_job_whose_worker_is_killed_is_begun_again(executor, tmp_path):
    jobs = [Job("a", die, (tmp_path / "marker", 1)), Job("b", add, (1, 2))]
    assert dict(executor.run(jobs)) == {"a": "done", "b": (3, "cpu")}
    assert (tmp_path / "marker").read_text() == "xx"


def test_a_job_that_kills_every_worker_ends_the_run(executor, tmp_path):
    with pytest.raises(InputError, match=f"{TRIES} workers were lost while they did a .*--memory-per-job"):
        list(executor.run([Job("a", die, (tmp_path / "marker", TRIES))]))
    assert len((tmp_path / "marker").read_text()) == TRIES


def test_after_a_failure_no_other_job_is_begun(executor, tmp_path):
    # As many as run at a time fail: which of two ends first is left to chance.
    bad = [Job(f"bad-{k}", fail, (ValueError("no luck"),)) for k in range(executor.workers)]
    done = {}
    with pytest.raises(ValueError, match="no luck"):
        run_jobs(
            [*bad, *(Job(str(k), add, (k, 0)) for k in range(30))],
            executor,
            SimpleNamespace(path=tmp_path, record=lambda _: None),
            done.__setitem__,
        )
    assert done == {}


def test_a_machine_that_would_give_other_numbers_is_refused(executor):
    place = executor.place
    other = Place(place.versions | {"torch": "1.0"}, place.environment | {"auto_precision": "float16"})
    for expected, message in (
        (Place(other.versions, place.environment), "torch .* there, 1.0 expected"),
        (Place(place.versions, other.environment), "auto_precision .* there, float16 expected"),
    ):
        strict = ray_jobs.Ray(executor.needs, expected, executor.describe, executor.folder)
        with pytest.raises(SettingError, match=message):
            list(strict.run([Job("a", add, (1, 2))]))


def test_a_folder_that_a_machine_does_not_see_is_refused(executor, tmp_path):
    blind = ray_jobs.Ray(executor.needs, executor.place, executor.describe, tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"does not see .*elsewhere"):
        list(blind.run([Job("a", add, (1, 2))]))


def test_a_job_that_no_machine_has_room_for_is_refused(executor):
    with pytest.raises(SettingError, match="no machine of the Ray cluster has room"):
        ray_jobs.start(computed_with, executor.folder, JobNeeds(memory_gib=10_000), None)


@pytest.mark.parametrize(
    ("needs", "places"),
    [
        (JobNeeds(), 6),
        (JobNeeds(gpus=1), 2),
        (JobNeeds(gpus=0.4), 4),
        (JobNeeds(gpus=2), 1),
        (JobNeeds(memory_gib=6), 2),
        (JobNeeds(gpus=0.25, memory_gib=20), 0),
    ],
)
def test_places_are_counted_by_machine(needs, places, monkeypatch):
    gib = ray_jobs.GIB
    nodes = [
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 2.0, "memory": 10.0 * gib}},
        {"Alive": True, "Resources": {"CPU": 2.0, "memory": 11.0 * gib}},
        {"Alive": False, "Resources": {"CPU": 64.0}},
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert ray_jobs.places_for(needs) == places


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:9", "ray:127.0.0.1:9: no Ray cluster answers"),
        ("somewhere", "expected ray:auto or ray:HOST:PORT"),
        ("127.0.0.1:99999999", "no Ray cluster answers"),
        ("a..b:6379", "no Ray cluster answers"),
    ],
)
def test_an_address_where_nobody_answers_is_refused(address, message, tmp_path):
    ray.shutdown()
    choice = ExecutorChoice("ray", address=address)
    with pytest.raises(SettingError, match=message), start_executor(choice, "cpu", [], tmp_path):
        pass


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("slurm", {}, "expected serial, processes, ray or ray:ADDRESS"),
        ("serial:here", {}, "expected serial, processes, ray or ray:ADDRESS"),
        ("serial", {"workers": 2}, "one job at a time"),
        ("ray", {"workers": 0}, "expected at least 1"),
        ("processes", {"gpus_per_job": 1}, "changes nothing without --executor ray"),
        (None, {"memory_per_job": 2}, "changes nothing without --executor ray"),
        ("ray", {"memory_per_job": -1}, "expected 0.01 to"),
        ("ray", {"memory_per_job": float("inf")}, "expected 0.01 to"),
        ("ray", {"gpus_per_job": 1.5}, "a share of one, or a whole number"),
        ("ray:", {}, "expected serial, processes, ray or ray:ADDRESS"),
    ],
)
def test_options_that_do_not_go_together_are_refused(text, more, message):
    with pytest.raises(ConfigError, match=message):
        ExecutorChoice.parse(text, **more)


def test_an_executor_is_parsed():
    assert ExecutorChoice.parse(None) == ExecutorChoice()
    assert ExecutorChoice.parse("ray:10.0.0.1:6379", 4) == ExecutorChoice("ray", "10.0.0.1:6379", 4)
