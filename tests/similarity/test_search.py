"""What a search records, refuses and leaves alone; what it promises for every metric is in the contract."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from invaudit.runtime.errors import DataError, RunFolderError, SettingError, ShapeError
from invaudit.similarity import Metric, Neighbours, make_metric, nearest, pairwise, search
from invaudit.similarity.checks import checked_images
from tests.similarity.galleries import GALLERY, QUERIES, images, same


class MeanAbsolute(Metric):
    """A metric that has no screening of its own."""

    name = "mean-absolute"
    better = "lower"
    label = "mean absolute difference"
    key = "mean-absolute"
    device = torch.device("cpu")

    def embed(self, images: Tensor) -> Tensor:
        return checked_images(images, smallest=1, resize=None, device=self.device).double().flatten(1)

    def exact(self, queries: Tensor, gallery: Tensor) -> Tensor:
        return (queries - gallery).abs().mean(1)


@pytest.mark.parametrize(("k", "chunk"), [(1, None), (5, 8), (41, 1)])
def test_a_metric_without_screening_is_compared_pair_by_pair(k, chunk):
    metric = MeanAbsolute()
    values = pairwise(QUERIES, GALLERY, metric)
    assert torch.equal(metric.screen(metric.embed(QUERIES))(metric.embed(GALLERY))[0], values)
    order = values.sort(dim=1, stable=True).indices[:, :k]
    assert same(nearest(QUERIES, GALLERY, metric, k, chunk=chunk), Neighbours(order, values.gather(1, order)))


def test_what_is_recorded_is_not_computed_again(make, tmp_path, monkeypatch):
    metric = make("ssim")
    first = nearest(QUERIES, GALLERY, metric, 4, records=tmp_path)
    monkeypatch.setattr(search, "exact_values", None)
    assert same(nearest(QUERIES, GALLERY.split(9), metric, 4, chunk=5, records=tmp_path), first)


def test_a_record_of_another_search_is_refused(make, tmp_path):
    metric = make("ssim")
    nearest(QUERIES, GALLERY, metric, 4, records=tmp_path)
    for queries, other, k in ((QUERIES[:5], metric, 4), (QUERIES, make("cosine"), 4), (QUERIES, metric, 3)):
        with pytest.raises(RunFolderError, match=r"other queries, metric or k"):
            nearest(queries, GALLERY, other, k, records=tmp_path)
    with pytest.raises(RunFolderError, match="another gallery"):
        nearest(QUERIES, GALLERY.flip(0), metric, 4, records=tmp_path)
    with pytest.raises(RunFolderError, match="larger gallery"):
        nearest(QUERIES, GALLERY[:40], metric, 4, records=tmp_path)
    (tmp_path / "nearest.safetensors").write_bytes(b"cut off")
    with pytest.raises(RunFolderError, match="damaged"):
        nearest(QUERIES, GALLERY, metric, 4, records=tmp_path)


def test_other_bad_input_is_refused(make):
    metric = make("ssim")
    with pytest.raises(SettingError, match="chunk is 0"):
        nearest(QUERIES, GALLERY, metric, 1, chunk=0)
    with pytest.raises(ShapeError, match="gallery images"):
        nearest(QUERIES, GALLERY[..., :11], metric, 1)
    with pytest.raises(ShapeError, match="gallery images"):
        pairwise(QUERIES, GALLERY[:, :1], metric)
    with pytest.raises(DataError, match="gave a tuple"):
        nearest(QUERIES, [(GALLERY, 0)], metric, 1)
    with pytest.raises(SettingError, match="the 0 images"):
        nearest(QUERIES, [], metric, 1)
    with pytest.raises(ShapeError, match="sides of at least 5"):
        nearest(QUERIES[..., :4], GALLERY[..., :4], metric, 1)
    with pytest.raises(SettingError, match="resize is 4"):
        pairwise(QUERIES, GALLERY, make("ssim", resize=4))
    with pytest.raises(SettingError, match="expected one of ssim"):
        make_metric("psnr")
    with pytest.raises(SettingError, match="reference"):
        make_metric("cosine")
    with pytest.raises(ShapeError, match="the reference"):
        make("cosine").embed(GALLERY[:, :1])


def test_cosine_is_that_of_centred_images(make):
    reference = images(20, "reference")
    mean = reference.double().mean(0)
    x, y = ((values.double() - mean).flatten(1) for values in (QUERIES, GALLERY))
    expected = torch.nn.functional.cosine_similarity(x[:, None], y[None], dim=2)
    torch.testing.assert_close(pairwise(QUERIES, GALLERY, make("cosine")), expected, atol=1e-12, rtol=0)
    one = make_metric("cosine", reference=QUERIES[:1])
    assert (pairwise(QUERIES[:1], GALLERY, one) == 0).all()


def test_a_program_that_allows_lower_precision_gets_the_same_values(make):
    metric = make("lpips-squeeze")
    expected = nearest(QUERIES, GALLERY, metric, 5)
    torch.set_float32_matmul_precision("medium")
    try:
        assert same(nearest(QUERIES, GALLERY, make("lpips-squeeze"), 5), expected)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_records_may_be_a_folder_that_is_not_there_yet(make, tmp_path):
    folder: Path = tmp_path / "a" / "b"
    nearest(QUERIES, GALLERY, make("cosine"), 2, records=folder)
    assert folder.is_dir()
