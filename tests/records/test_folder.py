import json

import pytest

from invaudit.records import OodJobRecord
from invaudit.records.folder import read_record
from invaudit.runtime.errors import RunFolderError
from invaudit.runtime.files import read_arrays

RIGHT = {"sets": {"splits": {}, "ood": {}, "groups": {}, "missing": {}}, "detectors": {}}


def test_a_record_of_a_job_has_its_types(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "job.json").write_text(json.dumps(RIGHT))
    assert read_record(tmp_path, "job", OodJobRecord).detectors == {}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", "{}", json.dumps(RIGHT | {"more": 1}), '{"sets": 5}', "\udcff"]
)
def test_a_damaged_record_of_a_job_is_named_with_the_remedy(tmp_path, content):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "job.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(RunFolderError, match=r"job\.json is damaged.*remove it and give --resume"):
        read_record(tmp_path, "job", OodJobRecord)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + bytes(90)])
def test_damaged_arrays_are_refused_by_name(tmp_path, content):
    (tmp_path / "scores.npz").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"scores\.npz is damaged"):
        read_arrays(tmp_path / "scores.npz")
