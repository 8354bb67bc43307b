"""The page of a leakage run: verdict first, no pixel without leave, escaped, offline, honest about what is missing."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import invaudit.report.leakage.pictures as pictures_module
from invaudit.report import leakage_page
from invaudit.report.leakage.figures import Triplets
from invaudit.report.leakage.sections import Content
from invaudit.report.sections import Section
from invaudit.runtime import RunFolderError

pytestmark = pytest.mark.slow

IMAGES = [f"images-{number:02}" for number in range(3, 12)]
BANNER = "This page shows training images."
Show = Callable[[Path], Any]


@pytest.fixture
def page(read: Callable[[Path], Any]) -> Show:
    """Return what writes the page of a run and reads it."""
    return lambda folder: read(leakage_page(folder))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, undrawn: None) -> list[Triplets]:  # noqa: ARG001
    """What the page would have drawn of images."""
    chosen: list[Triplets] = []
    monkeypatch.setattr(pictures_module.figures, "triplets", chosen.append)
    return chosen


def _edit(folder: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(pd.read_csv(folder / name)).to_csv(folder / name, index=False)


def _add_arrays(path: Path, **arrays: np.ndarray) -> None:
    old = dict(np.load(path)) if path.is_file() else {}
    np.savez(path, allow_pickle=False, **(old | arrays))


@pytest.mark.usefixtures("undrawn")
def test_verdicts_come_first(leakage_folder: Path, page: Show) -> None:
    rendered = page(leakage_folder)
    body = rendered.text.partition("Leakage of training images Leak")[2]
    assert body.startswith(": memorised. No evidence of a leak: early-stopped. Inconclusive: shifted.")
    assert "memorised leak 8 of 12 tests say leak (smallest Holm p 0.0004): generator, kkt." in body
    assert (
        "early-stopped no evidence of a leak 8 of 12 tests find nothing (smallest Holm p 0.48); 4 of 12 tests" in body
    )
    assert "The scoring limit is 7\u20139 reconstructed members." in body
    assert "twin Negative control: no evidence of a leak" in body
    assert "targets that leak 1 of 3" in body
    assert "Remark: under 1,000 controls: all that ran" in body
    assert "Remark: no reference set: kkt:cosine on shifted" in body
    assert "Remark: collapsed: one image: tldr ssim on memorised, tldr lpips-alex on memorised." in body
    assert "shifted inconclusive (shift) 12 of 12 tests inconclusive, because members and control differ" in body
    assert "was found by generator, kkt; missed by tldr." in body
    assert "does not show that the training images are safe, nor that the model is anonymous" in body
    assert "invaudit leak 'a b'" in body
    assert not [words for words in MISSING.values() if words in body]


@pytest.mark.usefixtures("undrawn")
def test_every_row_is_there(leakage_folder: Path, page: Show) -> None:
    rows = pd.read_csv(leakage_folder / "table.csv")
    rows["p_value"] = rows["p_adjusted"] = 0.02 + np.arange(len(rows)) / 10_000
    rows.loc[rows["target"].eq("memorised").idxmax(), "verdict"] = "inconclusive"
    rows.to_csv(leakage_folder / "table.csv", index=False)
    rendered = page(leakage_folder)
    cells = rendered.html.replace("<td", "\n<td").split("\n")
    for value in rows.loc[rows["status"] == "ok", "p_value"]:
        assert sum(f">{value:.6g}</td>" in cell for cell in cells) >= 2
    assert "leak 1/2" in rendered.text
    for status, why in (("failed", "the inversions collapsed"), ("skipped", "the LPIPS weights are not there")):
        n = (rows["status"] == status).sum()
        assert f"{status} 2/2" in rendered.text
        assert rendered.text.count(f"Remark: {status}: {why} ({n} tests).") == 1
    assert "deepinversion ssim on memorised: failed, the inversions collapsed." in rendered.text
    assert "Remark: no reference set: kkt:cosine on shifted." in rendered.text


@pytest.mark.usefixtures("undrawn")
def test_a_control_without_a_result_says_why(leakage_folder: Path, page: Show) -> None:
    rows = pd.read_csv(leakage_folder / "controls.csv", dtype={"reason": object})
    rows.loc[rows["kind"] == "attack", ["verdict", "status", "reason"]] = [None, "failed", "out of memory"]
    rows.to_csv(leakage_folder / "controls.csv", index=False)
    n = (rows["kind"] == "attack").sum()
    assert f"Remark: failed: out of memory ({n} tests)." in page(leakage_folder).text


def test_page_makes_no_request_and_figures_lie_beside_it(leakage_folder: Path, page: Show) -> None:
    rendered = page(leakage_folder)
    rendered.assert_offline([*IMAGES, "membership", "quantiles"])
    assert BANNER in rendered.text


def test_same_bytes_twice_and_no_pixel_without_leave(
    make_leakage_run: Callable[..., Path], tmp_path: Path, page: Show
) -> None:
    first, second = (make_leakage_run(tmp_path / name, images="none") for name in ("a", "b"))
    marker = np.random.default_rng(0).integers(0, 256, (80, 1, 8, 8), dtype=np.uint8)
    for folder in second.glob("scores/*/*"):
        _add_arrays(folder / "images.npz", images=marker)
        for method in ("generator", "kkt", "tldr"):
            _add_arrays(folder / f"{method}.npz", images=marker[:30])
    rendered = page(first)
    rendered.assert_offline(["membership", "quantiles"])
    assert BANNER not in rendered.text
    page(second)
    written = [path.relative_to(first) for path in [first / "report.html", *(first / "figures").iterdir()]]
    assert sorted(path.name for path in (second / "figures").iterdir()) == ["membership.png", "quantiles.png"]
    assert all((first / path).read_bytes() == (second / path).read_bytes() for path in written)


@pytest.mark.parametrize(
    "config", [None, "seeds: [0]\n", "images: none\n", "images: [full]\n", "full\n", "# images: full"]
)
def test_only_full_shows_images(leakage_folder: Path, page: Show, drawn: list[Triplets], config: str | None) -> None:
    path = leakage_folder / "config.yaml"
    path.unlink() if config is None else path.write_text(config, encoding="utf-8")
    assert BANNER not in page(leakage_folder).text
    assert not drawn


def test_shown_rows_do_not_depend_on_membership(leakage_folder: Path, page: Show, drawn: list[Triplets]) -> None:
    page(leakage_folder)
    before = [(triplets.images, triplets.how) for triplets in drawn]
    drawn.clear()
    for path in leakage_folder.glob("scores/*/*/pool.npz"):
        _add_arrays(path, member=np.load(path)["member"][::-1])
    page(leakage_folder)
    assert len(before) == len(drawn) == len(IMAGES)
    for (images, how), triplets in zip(before, drawn, strict=True):
        np.testing.assert_array_equal(images, triplets.images)
        assert how == triplets.how


def test_images_are_the_nearest_ones(leakage_folder: Path, page: Show, drawn: list[Triplets]) -> None:
    page(leakage_folder)
    arrays = dict(np.load(leakage_folder / "scores/seed-0/memorised/generator.npz"))
    member = np.load(leakage_folder / "scores/seed-0/memorised/pool.npz")["member"]
    for i, image in enumerate(drawn[0].images):
        (row,) = np.flatnonzero((arrays["images"] == image).all(axis=(1, 2, 3)))
        order = list(zip(arrays["ssim-index"][row], arrays["ssim-value"][row], strict=True))
        for near, kind in ((drawn[0].member, member), (drawn[0].control, ~member)):
            nearest = [(at, value) for at, value in order if kind[at]]
            assert (near.position[i], near.value[i]) == (nearest[0] if nearest else (-1, order[-1][1]))


def test_hostile_names_are_escaped(leakage_folder: Path, page: Show, hostile: str) -> None:
    words = ["memorised", "generator", "ssim", "pairs", "attribution", "generator:ssim", "twin"]
    words += ["the inversions collapsed", "memorised network", "no reference set"]
    pd.DataFrame({"metric": ["ssim", "lpips-alex"], "better": ["higher", "lower"], "label": [hostile, ""]}).to_csv(
        leakage_folder / "metrics.csv", index=False
    )
    for name in ("table.csv", "membership.csv", "controls.csv", "targets.csv", "metrics.csv"):
        _edit(leakage_folder, name, lambda frame: frame.replace(dict.fromkeys(words, hostile)))
    for path in leakage_folder.glob("scores/*/*/generator.npz"):
        arrays = {key.replace("ssim", hostile): value for key, value in np.load(path).items()}
        np.savez(path, allow_pickle=False, **arrays)
    page(leakage_folder).assert_harmless()


@pytest.mark.usefixtures("undrawn")
def test_hostile_config_and_environment_are_escaped(leakage_folder: Path, page: Show, hostile: str) -> None:
    (leakage_folder / "config.yaml").write_text(f"images: none\nname: |\n  {hostile}\n  </pre><i>", encoding="utf-8")
    (leakage_folder / "environment.json").write_text('{"<b>": ["</dd><i>"], "command": ["<i>"]}', "utf-8")
    rendered = page(leakage_folder)
    rendered.assert_harmless()
    assert not {"i", "script"} & {tag for tag, _ in rendered.elements}


def test_names_are_no_paths(leakage_folder: Path, page: Show, drawn: list[Triplets]) -> None:
    shutil.copytree(leakage_folder / "scores/seed-0/memorised", leakage_folder.parent / "elsewhere")
    _edit(leakage_folder, "table.csv", lambda frame: frame.replace("memorised", "../../../elsewhere"))
    page(leakage_folder)
    assert len(drawn) == len(IMAGES) - 3


MISSING = {
    "membership.csv": "membership.csv is missing",
    "targets.csv": "targets.csv is missing",
    "controls.csv": "No negative control was run.",
    "config.yaml": "config.yaml is missing",
    "environment.json": "environment.json is missing",
    "scores": "The run folder holds no similarities.",
}


@pytest.mark.parametrize("name", MISSING)
@pytest.mark.usefixtures("undrawn")
def test_missing_parts_are_named(leakage_folder: Path, page: Show, name: str) -> None:
    path = leakage_folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert MISSING[name] in page(leakage_folder).text


def test_a_folder_without_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"table\.csv"):
        leakage_page(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_nothing_ran(leakage_folder: Path, page: Show) -> None:
    shutil.rmtree(leakage_folder / "scores")
    _edit(leakage_folder, "table.csv", lambda frame: frame[frame["status"] != "ok"])
    text = page(leakage_folder).text
    assert "memorised: not tested." in text
    assert "No test has a result" in text
    assert "holds no images" in text


@pytest.mark.usefixtures("undrawn")
def test_a_table_without_rows(leakage_folder: Path, page: Show) -> None:
    _edit(leakage_folder, "table.csv", lambda frame: frame.iloc[:0])
    assert "This run holds no target." in page(leakage_folder).text


@pytest.mark.usefixtures("undrawn")
def test_a_fired_negative_control_is_shouted(leakage_folder: Path, page: Show) -> None:
    words = "A negative control fired: the tests found a leak where nothing can leak."
    assert words not in page(leakage_folder).text

    def fire(frame: pd.DataFrame) -> pd.DataFrame:
        negative = (frame["kind"] == "negative") & (frame["method"] == "kkt") & (frame["metric"] == "ssim")
        frame.loc[negative & (frame["seed"] == 1), "verdict"] = "leak"
        return frame

    _edit(leakage_folder, "controls.csv", fire)
    text = page(leakage_folder).text
    assert words in text
    assert "Concerned: kkt, ssim on twin (seed 1)." in text
    assert "negative controls fired" in text


@pytest.mark.usefixtures("undrawn")
def test_a_verdict_withheld_for_a_control_is_shouted(leakage_folder: Path, page: Show) -> None:
    _edit(leakage_folder, "table.csv", lambda frame: frame.replace({"verdict_reason": {"shift": "control-invalid"}}))
    text = page(leakage_folder).text
    assert "A negative control fired" in text
    assert "Concerned: generator, ssim on shifted (seed 0);" in text
    assert "inconclusive (control-invalid)" in text


@pytest.mark.usefixtures("undrawn")
def test_a_reason_that_nobody_gave_is_refused(leakage_folder: Path, hostile: str) -> None:
    _edit(leakage_folder, "table.csv", lambda frame: frame.replace({"verdict_reason": {"shift": hostile}}))
    with pytest.raises(RunFolderError, match="column verdict_reason"):
        leakage_page(leakage_folder)


def _rename_metric(folder: Path, name: str, better: str) -> None:
    """Give the first metric of a run a name of its own, with values of its direction."""
    metrics = {"metric": [name, "lpips-alex"], "better": [better, "lower"], "label": ["Ours, 3 layers", ""]}
    pd.DataFrame(metrics).to_csv(folder / "metrics.csv", index=False)
    for table in ("table.csv", "controls.csv"):
        _edit(folder, table, lambda frame: frame.replace({"metric": {"ssim": name}}))
    for path in folder.glob("scores/*/*/*.npz"):
        arrays = dict(np.load(path))
        if "ssim-index" in arrays:
            value = arrays.pop("ssim-value")
            arrays[f"{name}-index"] = arrays.pop("ssim-index")
            arrays[f"{name}-value"] = value if better == "higher" else 1 - value
            np.savez(path, allow_pickle=False, **arrays)


@pytest.mark.parametrize(("name", "better"), [("dists", "lower"), ("lpips-likeness", "higher")])
@pytest.mark.usefixtures("undrawn")
def test_a_metric_of_any_name_is_the_right_way_round(
    leakage_folder: Path, page: Show, monkeypatch: pytest.MonkeyPatch, name: str, better: str
) -> None:
    quantiles: dict[str, Any] = {}
    monkeypatch.setattr(pictures_module.figures, "quantiles", lambda panels, _, **how: quantiles.update(how, **panels))
    _rename_metric(leakage_folder, name, better)
    text = page(leakage_folder).text
    assert f"metric: {name} Ours, 3 layers; {better} is more similar." in text
    caption = f"generator on memorised (seed 0), {name} below each image"
    assert f"{caption}, smaller is more similar." in text if better == "lower" else f"{caption}." in text
    lower = [name, "lpips-alex"] if better == "lower" else ["lpips-alex"]
    assert f"Remark: lower is more similar: {', '.join(lower)}." in text
    assert quantiles["better"] == better
    member, control = quantiles["memorised"]["generator"]
    assert np.median(member) > np.median(control) if better == "higher" else np.median(member) < np.median(control)
    assert "memorised leak 8 of 12 tests say leak" in text


def test_a_metric_without_direction_is_refused(leakage_folder: Path) -> None:
    _rename_metric(leakage_folder, "dists", "lower")
    (leakage_folder / "metrics.csv").unlink()
    with pytest.raises(RunFolderError, match=r"the metric 'dists' is better, expected a row in metrics\.csv"):
        leakage_page(leakage_folder)


@pytest.mark.usefixtures("undrawn")
def test_a_section_is_a_function_in_a_list(
    leakage_folder: Path, page: Show, monkeypatch: pytest.MonkeyPatch, hostile: str
) -> None:
    def more(content: Content) -> Section:
        return Section("More", notes=(hostile,), terms=[("first", content.findings[0].target)], missing="Nothing.")

    monkeypatch.setattr("invaudit.report.leakage.page.SECTIONS", (more,))
    rendered = page(leakage_folder)
    rendered.assert_harmless()
    assert " ".join(("More", *hostile.split(), "first memorised Nothing. Details")) in rendered.text
