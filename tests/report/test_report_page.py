"""The page: offline, escaped, reproducible, honest about what is missing."""

import base64
import html
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import invaudit.report.ood.page as page_module
from invaudit.report import ood_page
from invaudit.runtime import RunFolderError

REASON = "the network has no dropout"
# With the colon of a detector's path it counts as a baseline, so that it also gets into the figures.
HOSTILE = "x:<script src=//evil.example>alert(1)</script>\" onload='x' & ${7*7} {{7*7}} $\\frac{"
IMAGE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]+")
REQUESTS = ("http:", "https:", "//", "<script", "@import", "url(", "<link", "<iframe", "<object", "<base", "<form")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which takes most of the time, where the words are tested."""
    monkeypatch.setattr(page_module, "png", lambda _: b"\x89PNG\r\n\x1a\n" + bytes(16))
    for name in ("headline", "histograms", "inversions", "resistance"):
        monkeypatch.setattr(page_module.figures, name, lambda *_: None)


class Tags(HTMLParser):
    """Collects elements, their attributes and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _page(folder: Path) -> str:
    return ood_page(folder).read_text(encoding="utf-8")


def _tags(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def _text(page: str) -> str:
    return " ".join(" ".join(_tags(page).text).split())


def _edit(folder: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(folder / name)).to_csv(folder / name, index=False)


@pytest.mark.usefixtures("undrawn")
def test_page_tells_the_result(run_folder: Path) -> None:
    text = _text(_page(run_folder))
    assert "digits: on near and on far OOD sets, ours beats the best of 11 baselines." in text
    assert "mean AUROC 94.7 % for ours, 92.5 % for the best of 11 baselines (KNN on full): 2.2 points ahead" in text
    assert "(95 % interval 1.6 to 2.8, Holm p 0.004)." in text
    assert "3 seeds: under 5" in text
    assert "passed" in text
    assert "python -m x 'a b'" in text
    assert not [words for words in MISSING.values() if words in text]
    assert REASON in text
    assert "Passed: control-same: all alike." in text


def test_page_makes_no_request_and_figures_lie_beside_it(run_folder: Path) -> None:
    page = _page(run_folder)
    rest = IMAGE.sub("", page)
    assert not [word for word in REQUESTS if word in rest.lower()]
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    tags = _tags(page)
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": policy}) in tags.found
    sources = [attributes["src"] or "" for tag, attributes in tags.found if tag == "img"]
    assert all(IMAGE.fullmatch(source) for source in sources)
    assert all(attributes.get("alt") for tag, attributes in tags.found if tag == "img")
    names = ["headline", "histograms", "inversions-full", "inversions-inversion", "resistance"]
    assert sorted(path.stem for path in (run_folder / "figures").iterdir()) == names
    embedded = {base64.b64decode(source.partition(",")[2]) for source in sources}
    assert embedded == {path.read_bytes() for path in (run_folder / "figures").iterdir()}


def test_same_bytes_twice(make_run: Callable[[Path], Path], tmp_path: Path) -> None:
    first, second = (ood_page(make_run(tmp_path / name)).parent for name in ("a", "b"))
    written = [path.relative_to(first) for path in [first / "report.html", *(first / "figures").iterdir()]]
    assert len(written) == 6
    assert all((first / path).read_bytes() == (second / path).read_bytes() for path in written)


def test_hostile_names_are_escaped(run_folder: Path) -> None:
    victims = {"id_set": "digits", "network": "plain", "detector": "KNN", "ood_set": "letters", "reason": REASON}
    for name in ("summary.csv", "table.csv", "resistance.csv"):
        _edit(run_folder, name, lambda frame: frame.replace(dict.fromkeys(victims.values(), HOSTILE)))
    archive = run_folder / "scores/seed-0/full.npz"
    with np.load(archive) as arrays:
        np.savez(archive, allow_pickle=False, **{key.replace("letters", HOSTILE): arrays[key] for key in arrays.files})
    _assert_harmless(_page(run_folder))


@pytest.mark.usefixtures("undrawn")
def test_hostile_config_and_environment_are_escaped(run_folder: Path) -> None:
    (run_folder / "config.yaml").write_text(f"name: {HOSTILE}\n</pre>", encoding="utf-8")
    (run_folder / "environment.json").write_text('{"<b>": ["</dd><img src=x onerror=y>"], "command": ["<i>"]}', "utf-8")
    page = _page(run_folder)
    _assert_harmless(page)
    assert "<b>" not in _tags(page).found
    assert not [tag for tag, _ in _tags(page).found if tag == "i"]


def _assert_harmless(page: str) -> None:
    tags = _tags(page)
    allowed = {"data:image/png;base64"}
    assert html.escape("x:<script src") in page
    assert "script" not in {tag for tag, _ in tags.found}
    for tag, attributes in tags.found:
        assert not {"onload", "onerror", "href"} & attributes.keys()
        if tag == "img":
            assert (attributes["src"] or "").partition(",")[0] in allowed
    assert "{{7*7}}" in "".join(tags.text)


MISSING = {
    "cost.csv": "cost.csv is missing",
    "calibration.csv": "calibration.csv is missing",
    "resistance.csv": "resistance.csv is missing",
    "config.yaml": "config.yaml is missing",
    "environment.json": "environment.json is missing",
    "records/controls.json": "holds no record of passed controls",
    "scores": "holds no inversions",
    "scores/seed-0/full.npz": "holds no scores of ours",
}


@pytest.mark.parametrize("name", MISSING)
@pytest.mark.usefixtures("undrawn")
def test_missing_parts_are_named(run_folder: Path, name: str) -> None:
    path = run_folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = _text(_page(run_folder))
    assert MISSING[name] in text


@pytest.mark.usefixtures("undrawn")
def test_without_the_table_the_summary_serves(run_folder: Path) -> None:
    (run_folder / "table.csv").unlink()
    text = _text(_page(run_folder))
    assert "3 seeds" in text
    assert REASON in text


def test_a_folder_without_summary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"summary\.csv"):
        ood_page(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_empty_tables_are_missing_tables(run_folder: Path) -> None:
    (run_folder / "cost.csv").write_text("\n", encoding="utf-8")
    (run_folder / "resistance.csv").write_text("id_set,seed,network,n,resistance,accepted\n", encoding="utf-8")
    text = _text(_page(run_folder))
    assert "cost.csv is missing or empty" in text
    assert "resistance.csv is missing or empty" in text


@pytest.mark.usefixtures("undrawn")
def test_nothing_ran(run_folder: Path) -> None:
    for name in ("summary.csv", "table.csv"):
        _edit(run_folder, name, lambda frame: frame[frame["status"] == "failed"])
    text = _text(_page(run_folder))
    assert "holds no comparison of ours with a baseline" in text
    assert "No detector has a result" in text
    assert "no comparison is drawn" in text
    assert "0 control rows" in text


@pytest.mark.usefixtures("undrawn")
def test_skipped_sets_are_named_at_the_top(run_folder: Path) -> None:
    row = {"id_set": "digits", "ood_set": "svhn", "group": "far", "status": "skipped", "reason": "not found"}
    _edit(run_folder, "table.csv", lambda frame: pd.concat([frame, pd.DataFrame([row])]))
    assert "the data were not found: svhn" in _text(_page(run_folder))


@pytest.mark.parametrize(
    ("ood_set", "change"), [("control-same", {"auroc": 0.501}), ("control-split", {"status": "failed"})]
)
@pytest.mark.usefixtures("undrawn")
def test_a_failed_control_is_shouted(run_folder: Path, ood_set: str, change: dict[str, object]) -> None:
    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        first = frame.index[frame["ood_set"] == ood_set][0]
        for name, value in change.items():
            frame.loc[first, name] = value
        return frame

    assert "A control failed" not in _text(_page(run_folder))
    _edit(run_folder, "table.csv", spoil)
    text = _text(_page(run_folder))
    assert "A control failed: do not trust" in text
    assert "1 failed" in text


@pytest.mark.usefixtures("undrawn")
def test_a_detector_that_cannot_run_is_no_failed_control(run_folder: Path) -> None:
    row = {"id_set": "digits", "network": "plain", "detector": "MCD", "ood_set": "control-same", "group": "control"}
    row |= {"status": "failed", "reason": "no dropout"}
    _edit(run_folder, "table.csv", lambda frame: pd.concat([frame, pd.DataFrame([row])]))
    assert "A control failed" not in _text(_page(run_folder))


VERDICTS = {
    "behind": ({"difference": 0.02, "difference_low": 0.01, "difference_high": 0.03}, "stays behind the best"),
    "unclear": ({"difference": -0.02, "difference_low": -0.05, "difference_high": 0.01}, "does not differ clearly"),
    "corrected": (
        {"difference": -0.02, "difference_low": -0.03, "difference_high": -0.01, "p_adjusted": 0.3},
        "does not differ clearly",
    ),
    "untested": ({"difference": -0.02, "difference_low": np.nan, "difference_high": np.nan}, "was not tested"),
}


@pytest.mark.parametrize("name", VERDICTS)
@pytest.mark.usefixtures("undrawn")
def test_the_headline_follows_interval_and_p(run_folder: Path, name: str) -> None:
    change, words = VERDICTS[name]
    _edit(run_folder, "summary.csv", lambda frame: frame.assign(**change))
    text = _text(_page(run_folder))
    assert words in text
    assert "beats" not in text


@pytest.mark.usefixtures("undrawn")
def test_near_and_far_may_differ(run_folder: Path) -> None:
    def turn(frame: pd.DataFrame) -> pd.DataFrame:
        far = frame["ood_set"] == "mean-far"
        frame.loc[far, ["difference", "difference_low", "difference_high"]] = [0.02, 0.01, 0.03]
        return frame

    _edit(run_folder, "summary.csv", turn)
    text = _text(_page(run_folder))
    assert "on near OOD sets, ours beats the best of 11 baselines; on far OOD sets, ours stays behind" in text
    assert "2.0 points behind (95 % interval 1.0 to 3.0" in text
