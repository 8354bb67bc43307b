"""What every metric promises, and the search with it: brute force, in any batches, in any order and after a stop."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise as neighbouring

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from invaudit.data import seeded_rng
from invaudit.runtime.errors import DataError, InputError, SettingError, ShapeError
from invaudit.similarity import METRICS, Metric, Neighbours, nearest, pairwise
from tests.similarity.galleries import GALLERY, QUERIES, same

Make = Callable[..., Metric]


@pytest.fixture(scope="module", params=METRICS)
def metric(request: pytest.FixtureRequest, make: Make) -> Metric:
    return make(request.param)


@cache
def all_values(metric: Metric) -> Tensor:
    return pairwise(QUERIES, GALLERY, metric)


def brute_force(metric: Metric, k: int) -> Neighbours:
    values = all_values(metric)
    order = values.sort(dim=1, descending=metric.better == "higher", stable=True).indices[:, :k]
    return Neighbours(order, values.gather(1, order))


def test_a_metric_describes_itself(metric, make):
    assert METRICS[metric.name]
    assert metric.better in ("higher", "lower")
    assert metric.label
    assert metric.key == make(metric.name).key
    assert metric.key != make(metric.name, resize=40).key
    assert "resized to 40" in make(metric.name, resize=40).label


def test_an_image_is_most_similar_to_itself(metric):
    values = pairwise(QUERIES, QUERIES, metric)
    best = 1.0 if metric.better == "higher" else 0.0
    assert values.dtype == torch.float64
    torch.testing.assert_close(values.diagonal(), torch.full((6,), best, dtype=torch.float64), atol=1e-12, rtol=0)
    if metric.better == "lower":
        assert (values.diagonal() == 0).all()
    torch.testing.assert_close(values, values.T, atol=1e-12, rtol=0)
    assert ((values - best).abs() > 1e-3).sum() == 30


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 33, 40)])
def test_an_image_is_alike_at_every_place_of_every_batch(metric, make, shape):
    drawn = torch.rand(30, *shape, generator=seeded_rng(0, "tests/places"))
    sized = make(metric.name, reference=drawn[:20], resize=metric.resize)
    embedded = sized.embed(drawn)
    for n in (1, 3, 7, 27):
        assert torch.equal(sized.embed(drawn[:n]), embedded[:n])
        assert torch.equal(sized.embed(drawn[n:]), embedded[n:])
    places = 1 + 2**16 // embedded[0].numel()
    assert len(sized.exact(embedded[[3] * places], embedded[[8] * places]).unique()) == 1


def test_screening_is_within_its_bound(metric):
    x, y = metric.embed(QUERIES), metric.embed(GALLERY)
    rough, bound = metric.screen(x)(y)
    assert rough.shape == (6, 41)
    assert ((rough - pairwise(QUERIES, GALLERY, metric)).abs() <= bound).all()


@pytest.mark.parametrize("k", [1, 3, 41])
@pytest.mark.parametrize("chunk", [1, 8, None])
def test_the_search_is_brute_force(metric, k, chunk):
    assert same(nearest(QUERIES, GALLERY, metric, k, chunk=chunk), brute_force(metric, k))


@given(cuts=st.lists(st.integers(0, 41), max_size=6), chunk=st.integers(6, 50), k=st.integers(1, 41))
@settings(max_examples=8, deadline=None)
def test_batches_change_nothing(metric, cuts, chunk, k):
    batches = [GALLERY[start:stop] for start, stop in neighbouring([0, *sorted(cuts), 41])]
    assert same(nearest(QUERIES, batches, metric, k, chunk=chunk), brute_force(metric, k))


@given(order=st.permutations(range(41)), chunk=st.integers(6, 50))
@settings(max_examples=8, deadline=None)
def test_order_moves_indices_alone(metric, order, chunk):
    order = torch.tensor(order)
    found = nearest(QUERIES, GALLERY[order], metric, 41, chunk=chunk)
    expected = brute_force(metric, 41)
    assert torch.equal(found.value, expected.value)
    values = all_values(metric)
    assert torch.equal(values.gather(1, order[found.index]), expected.value)
    ties = found.value[:, 1:] == found.value[:, :-1]
    assert (found.index.diff(dim=1)[ties] > 0).all()


def test_other_queries_change_nothing(metric):
    whole = nearest(QUERIES, GALLERY, metric, 5)
    for i in range(len(QUERIES)):
        alone = nearest(QUERIES[i : i + 1], GALLERY, metric, 5)
        assert same(alone, Neighbours(whole.index[i : i + 1], whole.value[i : i + 1]))


def test_a_gallery_of_one(metric):
    found = nearest(QUERIES, GALLERY[:1], metric, 1)
    assert (found.index == 0).all()
    assert torch.equal(found.value, pairwise(QUERIES, GALLERY[:1], metric))


def test_all_alike(metric):
    found = nearest(QUERIES[:2], QUERIES[:1].expand(50, -1, -1, -1), metric, 3, chunk=7)
    assert found.index.tolist() == [[0, 1, 2]] * 2


class Stopped(Exception):  # noqa: N818
    pass


def stopping(after: int, size: int) -> Iterator[Tensor]:
    """Yield the gallery and stop on the way."""
    for number, batch in enumerate(GALLERY.split(size)):
        if number == after:
            raise Stopped
        yield batch


@pytest.mark.parametrize(("after", "size", "chunk"), [(0, 5, 4), (2, 5, 4), (8, 5, 3), (3, 10, 30), (5, 8, 50)])
def test_a_stopped_search_goes_on_to_the_same_bytes(metric, after, size, chunk, tmp_path):
    for _ in range(2):
        with pytest.raises(Stopped):
            nearest(QUERIES, stopping(after, size), metric, 4, chunk=chunk, records=tmp_path / "stopped")
    found = nearest(QUERIES, GALLERY, metric, 4, chunk=chunk, records=tmp_path / "stopped")
    assert same(found, brute_force(metric, 4))
    nearest(QUERIES, GALLERY, metric, 4, chunk=chunk, records=tmp_path / "whole")
    files = [sorted(folder.iterdir()) for folder in (tmp_path / "stopped", tmp_path / "whole")]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]


def with_value(value: float) -> Tensor:
    wrong = QUERIES.clone()
    wrong[1, 2, 3, 4] = value
    return wrong


BAD = {
    "8-bit": ((QUERIES * 255).byte(), DataError, "uint8.*divide"),
    "nan": (with_value(float("nan")), DataError, "nan"),
    "above": (with_value(1.5), DataError, r"\[0, 1\]"),
    "below": (with_value(-1e-3), DataError, r"\[0, 1\]"),
    "infinite": (with_value(float("inf")), DataError, "inf"),
    "one image": (QUERIES[0], ShapeError, r"\(3, 12, 12\)"),
    "two channels": (QUERIES[:, :2], ShapeError, "1 or 3"),
    "none": (QUERIES[:0], ShapeError, "at least one"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_images_are_refused(metric, case):
    wrong, error, message = BAD[case]
    with pytest.raises(error, match=message) as caught:
        nearest(wrong, wrong, metric, 1)
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize("k", [0, -1, 42])
def test_k_out_of_range_is_refused(metric, k):
    with pytest.raises(SettingError, match=f"k is {k}"):
        nearest(QUERIES, GALLERY, metric, k)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_the_same(metric, make):
    other = make(metric.name, device="cuda")
    found, expected = nearest(QUERIES, GALLERY, other, 5), brute_force(metric, 5)
    torch.testing.assert_close(found.value, expected.value, atol=1e-5, rtol=1e-4)
    assert same(nearest(QUERIES, GALLERY.split(3), other, 5, chunk=7), found)
