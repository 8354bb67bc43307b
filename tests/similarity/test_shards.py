"""A search in shards is the search of the whole, in any sharding and whatever does it."""

import pickle

import pytest
import torch

from invaudit.data import ImageSet
from invaudit.runtime.errors import RunFolderError, SettingError
from invaudit.runtime.jobs import Serial
from invaudit.runtime.processes import Processes
from invaudit.similarity import Shard, nearest, nearest_in_shards, shards_of
from tests.similarity.galleries import GALLERY, QUERIES, same

SERIAL = Serial("cpu", {})
PIXELS = (255 * GALLERY).round().byte()
SET = ImageSet("gallery", PIXELS, torch.zeros(len(GALLERY), dtype=torch.int64))


@pytest.mark.parametrize("size", [41, 21, 6, 1])
@pytest.mark.parametrize("k", [1, 5, 41])
@pytest.mark.parametrize("name", ["ssim", "cosine"])
def test_any_sharding_gives_the_same(make, name, k, size):
    metric = make(name)
    whole = nearest(QUERIES, SET.floats(), metric, k)
    shards = shards_of(SET, size)
    assert same(nearest_in_shards(QUERIES, shards, metric, k, executor=SERIAL), whole)
    assert same(nearest_in_shards(QUERIES, shards[::-1], metric, k, executor=SERIAL), whole)


@pytest.mark.slow
def test_processes_give_the_same(make, tmp_path):
    executor = Processes(("cpu", "cpu"), {}, (), tmp_path / "log.txt")
    metric = make("ssim")
    found = nearest_in_shards(QUERIES, shards_of(SET, 6), metric, 3, executor=executor)
    assert same(found, nearest(QUERIES, SET.floats(), metric, 3))


def test_a_shard_takes_no_other_images_along():
    shard = shards_of(SET, 1)[3]
    sent = pickle.loads(pickle.dumps(shard))  # noqa: S301
    assert (sent.first, sent.images.hash) == (3, shard.images.hash)
    assert sent.images.pixels.untyped_storage().nbytes() == PIXELS[0].numel()


def test_each_shard_keeps_its_state(make, tmp_path):
    metric = make("ssim")
    shards = shards_of(SET, 20)
    found = nearest_in_shards(QUERIES, shards, metric, 2, executor=SERIAL, records=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"shard-0", "shard-20", "shard-40"}
    assert same(nearest_in_shards(QUERIES, shards, metric, 2, executor=SERIAL, records=tmp_path), found)
    other = [Shard(0, SET.subset(slice(1, 21)))]
    with pytest.raises(RunFolderError, match="another gallery"):
        nearest_in_shards(QUERIES, other, metric, 2, executor=SERIAL, records=tmp_path)


@pytest.mark.parametrize("k", [0, 42])
def test_more_neighbours_than_images_are_refused(make, k):
    with pytest.raises(SettingError, match="1 to the 41 images"):
        nearest_in_shards(QUERIES, shards_of(SET, 20), make("ssim"), k, executor=SERIAL)
