"""Devices, precision, seeds and threads."""

import os
from contextlib import nullcontext

import pytest
import torch

from invaudit.models import limit_threads, resolve_device
from invaudit.models.devices import autocast, images_at_once, resolve_precision, seed_torch
from invaudit.models.workers import computed_with, start_executor, worker_devices
from invaudit.runtime.errors import SettingError
from invaudit.runtime.executor import ExecutorChoice
from invaudit.runtime.jobs import Job, Serial
from invaudit.runtime.processes import Processes

CPU = torch.device("cpu")


def test_device_names():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("text", ["gpu", "cuda:x", "cpu:0:1", "", "mps", "cudaa"])
def test_unknown_devices_are_refused(text):
    with pytest.raises(SettingError, match="expected auto, cpu, cuda"):
        resolve_device(text)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(SettingError, match="use --device cpu"):
        resolve_device("cuda:99")


def test_each_worker_has_a_core_or_an_accelerator_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert worker_devices("cpu") == ["cpu"] * 4
    assert worker_devices("cpu", 6) == ["cpu"] * 6
    for text in ("auto", "cuda"):
        assert worker_devices(text) == ["cuda:0", "cuda:1", "cuda:2"]
        assert worker_devices(text, 2) == ["cuda:0", "cuda:1"]
        assert worker_devices(text, 8) == ["cuda:0", "cuda:1", "cuda:2"]
    assert worker_devices("cuda:1", 2) == ["cuda:1"]
    with pytest.raises(SettingError, match="shows 3 CUDA devices"):
        worker_devices("cuda:3")


def test_precision_names():
    assert resolve_precision("float32", CPU) == torch.float32
    assert resolve_precision("bfloat16", CPU) == torch.bfloat16
    assert resolve_precision("auto", CPU) in (torch.float32, torch.bfloat16)
    with pytest.raises(SettingError, match="expected auto, float32 or bfloat16"):
        resolve_precision("float16", CPU)


def test_autocast_of_a_precision():
    weights = torch.rand(4, 4)
    with autocast(CPU, torch.bfloat16):
        assert (weights @ weights).dtype == torch.bfloat16
    assert isinstance(autocast(CPU, torch.float32), nullcontext)


def test_seeded_draws_repeat_and_leave_the_global_generator_alone():
    state = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with seed_torch(torch.Generator().manual_seed(3)):
            draws.append(torch.rand(5))
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), state)


def test_seeded_draws_differ_from_call_to_call():
    rng = torch.Generator().manual_seed(3)
    draws = []
    for _ in range(2):
        with seed_torch(rng):
            draws.append(torch.rand(5))
    assert not torch.equal(*draws)


def test_threads_are_restored():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), limit_threads(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before


def test_fewer_large_images_go_through_a_network_together():
    assert images_at_once((3, 32, 32), 256) == 256
    assert images_at_once((3, 224, 224), 256) == 24
    assert images_at_once((1, 10_000, 10_000), 256) == 2


def process(*, device):
    return os.getpid(), device


def test_one_device_is_done_in_this_process_and_more_in_others(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with start_executor(ExecutorChoice(), "cuda:1", [], tmp_path) as executor:
        assert executor == Serial("cuda:1", computed_with("cuda:1"))
        assert dict(executor.run([Job("a", process, ())])) == {"a": (os.getpid(), "cuda:1")}
    with start_executor(ExecutorChoice("serial"), "cuda", [], tmp_path) as executor:
        assert executor == Serial("cuda:0", computed_with("cuda"))
    for choice, workers in ((ExecutorChoice(), 2), (ExecutorChoice("processes", workers=1), 1)):
        with start_executor(choice, "cuda", [], tmp_path) as executor:
            assert (type(executor), executor.workers) == (Processes, workers)
