"""Images embedded once give the search the same values as the images themselves."""

import pytest
import torch

from invaudit.data import seeded_rng
from invaudit.runtime.errors import SettingError, ShapeError
from invaudit.similarity import Embedded, embed_once, embedded, make_metric, nearest

QUERIES = torch.rand((7, 1, 16, 16), generator=seeded_rng(0, "embedded/queries"))
GALLERY = torch.rand((40, 1, 16, 16), generator=seeded_rng(0, "embedded/gallery"))


@pytest.fixture(params=["ssim", "cosine"])
def metric(request):
    return make_metric(request.param, reference=GALLERY)


@pytest.mark.parametrize("chunk", [None, 9])
def test_a_search_among_embedded_images_is_that_among_images(metric, chunk):
    expected = nearest(QUERIES, GALLERY, metric, 5)
    queries, gallery = embed_once(QUERIES, metric), embed_once(GALLERY, metric)
    assert isinstance(queries, Embedded)
    for pair in ((queries, gallery), (QUERIES, gallery), (queries, GALLERY), (queries, GALLERY.split(3))):
        neighbours = nearest(*pair, metric, 5, chunk=chunk)
        assert torch.equal(neighbours.index, expected.index)
        assert torch.equal(neighbours.value, expected.value)


def test_some_embedded_images_are_those_of_their_positions(metric):
    gallery = embed_once(GALLERY, metric)
    chosen = torch.arange(40) % 3 == 1
    neighbours = nearest(QUERIES, gallery[chosen], metric, 2)
    expected = nearest(QUERIES, GALLERY[chosen], metric, 2)
    assert len(gallery[chosen]) == int(chosen.sum())
    assert torch.equal(neighbours.value, expected.value)


def test_images_are_embedded_once(monkeypatch, metric):
    embedded_images = []
    embed = metric.embed

    def counting(images):
        embedded_images.append(len(images))
        return embed(images)

    monkeypatch.setattr(metric, "embed", counting)
    gallery = embed_once(GALLERY, metric)
    embedded_images.clear()
    for query in QUERIES.split(1):
        nearest(query, gallery, metric)
    assert embedded_images == [1] * len(QUERIES)


def test_what_takes_too_much_memory_stays_images(monkeypatch, metric):
    monkeypatch.setattr(embedded, "LARGEST", 40 * 16 * 16 - 1)
    assert embed_once(GALLERY, metric) is GALLERY


def test_another_metric_another_shape_and_a_state_to_keep_are_refused(tmp_path):
    ssim, cosine = make_metric("ssim"), make_metric("cosine", reference=GALLERY)
    gallery = embed_once(GALLERY, ssim)
    with pytest.raises(SettingError, match="embedded by another metric than cosine"):
        nearest(QUERIES, gallery, cosine)
    with pytest.raises(ShapeError, match=r"gallery images have shape \(1, 16, 16\), the queries \(1, 8, 16\)"):
        nearest(QUERIES[:, :, :8], gallery, ssim)
    with pytest.raises(SettingError, match="give images, not embedded ones"):
        nearest(QUERIES, gallery, ssim, records=tmp_path)


def test_a_metric_may_be_named():
    by_name, made = nearest(QUERIES, GALLERY, "ssim", 3), nearest(QUERIES, GALLERY, make_metric("ssim"), 3)
    assert torch.equal(by_name.value, made.value)
