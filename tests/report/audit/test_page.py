"""The page of an audit: three answers first, four controls, no picture without leave, honest about what is missing."""

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from invaudit.report import audit_page, audit_summary, model_card

VERDICTS = ("leak", "no-evidence", "inconclusive")
Show = Callable[[Path], Any]
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{}'"
CONTROLS = {
    "known leak (attack control)": "Membership: found by loss; missed by margin. Reconstruction: found by kkt; "
    "missed by generator.",
    "false alarms (own null)": "Both questions: 1 of 20 splits of controls called a leak (p 0.36).",
    "other draws of controls": "Both questions: 19 of 20 draws called alike (19 a leak).",
    "without the model (blind)": "AUROC 51.0 % (p 0.4) of a classifier that never sees the model; 50 % is as it should "
    "be.",
}


@pytest.fixture(scope="module")
def page(read: Show, finished_audit: Path) -> Any:
    """The page of an audit without images that leaks."""
    return read(finished_audit / "report.html")


def _edit(folder: Path, name: str, **values: Any) -> None:
    frame = pd.read_csv(folder / name)
    frame.assign(**values).to_csv(folder / name, index=False)


def assert_in_order(said: Iterable[str], text: str) -> None:
    """Fail unless a text holds all of this, one after the other."""
    place = 0
    for words in said:
        assert words in text[place:], words
        place = text.index(words, place)


def test_the_first_screen_answers_three_questions(page: Any) -> None:
    text = page.text.partition("What it means, and what it does not")[0]
    lead = (
        "Audit of a model One can tell which images it was trained on; images made from it come nearer to training "
        "images than chance explains.",
        "This page is no statement of compliance. Finding no leak is no evidence of anonymity.",
        "leaky.safetensors",
        "accuracy 100.0 % [91.0, 100.0] of 40 members, 75.0 % [68.0, 81.0] of 200 controls",
        "gap 25.0 points [10.0, 32.0], members less controls",
        "Can one tell which images it was trained on? \u25b2 leak",
        "p 0.0004, level 0.01; 2 of 2 scores say leak.",
        "AUROC 90.0 % [80.0, 95.0] by loss: of 100 pairs, the member scores higher in 90.",
        "5 of 40 members can be picked out one by one; of such picks at most 10 % are wrong, on average.",
        "Not tested: reference models (LiRA, RMIA) and attackers who hold more than the weights.",
        "Can training images be made from it? \u25b2 leak",
        "deepinversion (does not fit the model)",
        "Work was cut for the budget, see Cost.",
        "Does it know what it does not know? \u25d0 with a detector: 62\u201390 % of other images rejected",
        "Fewest of mine.npz: 62.0 % [47.2, 75.3] of 50, AUROC 90.0 %.",
        "False alarms: 4.0 % [0.5, 13.7] of 50 images of its own kind.",
        *(f"{name} {said}" for name, said in CONTROLS.items()),
    )
    assert_in_order(lead, text)


@pytest.mark.parametrize("verdicts", list(product(VERDICTS, VERDICTS)))
@pytest.mark.usefixtures("without_charts")
def test_nothing_passes_and_verdicts_stay_apart(
    make_audit: Callable[..., Path], read: Show, tmp_path: Path, verdicts: tuple[str, str]
) -> None:
    rendered = read(audit_page(make_audit(tmp_path / "run", *verdicts)))
    assert "passed" not in (rendered.text + model_card(tmp_path / "run")).lower()
    words = {"leak": "\u25b2 leak", "no-evidence": "\u25cb no evidence of a leak", "inconclusive": "? inconclusive"}
    for title, verdict in zip(
        ("Can one tell which images it was trained on?", "Can training images be made"), verdicts, strict=True
    ):
        after = rendered.text.partition(title)[2]
        assert words[verdict] in after[:60]
        if verdict == "inconclusive":
            assert "The reason: " in after[:300]
    styles = [attributes["class"] for tag, attributes in rendered.elements if tag == "section"]
    assert styles == [*(f"answer {verdict}" for verdict in verdicts), "answer measured", "controls"]
    for name in CONTROLS:
        assert name in rendered.text
    assert "It leaks. What now?" in rendered.text


def test_it_asks_for_nothing_and_only_its_own_script_may_run(page: Any) -> None:
    (script,) = SCRIPT.findall(page.html)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY.format(digest)}) in page.elements
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "base", "form")
        assert not {"href", "onload", "onclick", "onerror"} & attributes.keys()
    assert not re.search(r"https?:|url\(|@import|fetch|XMLHttp", SCRIPT.sub("", page.html) + script)


def test_without_leave_there_is_no_picture(page: Any, finished_audit: Path) -> None:
    names = {"answer-membership", "answer-reconstruction", "answer-knowledge", "membership"}
    assert {path.stem for path in (finished_audit / "figures").iterdir()} == names
    assert len([tag for tag, _ in page.elements if tag == "img"]) == len(names)
    assert "This page shows training images." not in page.text


def test_with_leave_the_model_stands_beside_every_picture(picture_audit: Path, read: Show) -> None:
    rendered = read(picture_audit / "report.html")
    lead, _, rest = rendered.text.partition("What it means, and what it does not")
    beside = "Model leaky.safetensors, hash "
    assert "This page shows training images." in lead
    assert lead.count(beside) == 1
    assert rest.count(beside) == 4
    assert rendered.text.count("accuracy 100.0 % [91.0, 100.0] of 40 members") >= 4
    assert {path.stem for path in (picture_audit / "figures").glob("*-0*")} == {"images-00", "images-01"}


def test_with_leave_there_are_a_gallery_and_an_atlas_that_say_what_they_are_worth(
    picture_audit: Path, read: Show
) -> None:
    text = read(picture_audit / "report.html").text.partition("What each class looks like to the model")[2]
    said = (
        "it enters no verdict",
        "12.5 % of the steps of each search were done, for the budget.",
        "The first 3 of 10 classes were looked at.",
        "The pictures it wants show nothing of their classes (uninformative): they are alike.",
        "That this network gives 50 % of the pictures their class says little",
        "Which classes touch",
        "By pixels: 1 of 1 pairs have one.",
        "zero two yes 0.5 0.4 2.0",
        "zero one yes",
    )
    assert_in_order(said, text)
    assert {"gallery", "atlas"} <= {path.stem for path in (picture_audit / "figures").iterdir()}


def test_a_gallery_is_never_shown_without_leave(picture_audit: Path, tmp_path: Path, read: Show) -> None:
    folder = Path(shutil.copytree(picture_audit, tmp_path / "run"))
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("images: full", "images: none"))
    shutil.rmtree(folder / "figures")
    rendered = read(audit_page(folder))
    assert "looks like to the model" not in rendered.text
    assert not {"gallery", "atlas"} & {path.stem for path in (folder / "figures").iterdir()}


@pytest.mark.usefixtures("without_charts")
def test_what_is_missing_of_a_gallery_is_named(picture_audit: Path, tmp_path: Path, read: Show) -> None:
    folder = Path(shutil.copytree(picture_audit, tmp_path / "run"))
    record = json.loads((folder / "records/gallery.json").read_text())
    (folder / "scores/seed-0/target/gallery.npz").unlink()
    whole = {"status": "skipped", "reason": "too small", "borders": None}
    for changed, words in (
        (whole, "Nothing to show: the folder holds no pictures. Which classes touch Not looked for: too small."),
        (whole | {"inversion": None}, "Nothing to show: too small."),
    ):
        (folder / "records/gallery.json").write_text(json.dumps(record | changed))
        assert words in read(audit_page(folder)).text


def test_equal_folders_give_equal_bytes(finished_audit: Path, audit_folder: Path) -> None:
    names = ["report.html", "card.md", *(f"figures/{path.name}" for path in (finished_audit / "figures").iterdir())]
    for name in names:
        (audit_folder / name).unlink()
    audit_page(audit_folder)
    assert {name: (audit_folder / name).read_bytes() for name in names} == {
        name: (finished_audit / name).read_bytes() for name in names
    }


def test_hostile_names_stay_text(audit_folder: Path, read: Show, hostile: str) -> None:
    _edit(audit_folder, "images.csv", file=hostile, class_name=hostile)
    _edit(audit_folder, "membership.csv", score=hostile, reason=hostile)
    _edit(audit_folder, "membership_tests.csv", score=hostile, reason=hostile)
    _edit(audit_folder, "table.csv", method=hostile)
    _edit(audit_folder, "readiness.csv", ood_set=["id-test", hostile, "uniform"] * 2)
    _edit(audit_folder, "stages.csv", settings=hostile)
    preflight = json.loads((audit_folder / "records/preflight.json").read_text())
    changed = preflight | {"model": f"{hostile}\n# x\n[a](b)", "notes": [hostile]}
    (audit_folder / "records/preflight.json").write_text(json.dumps(changed))
    rendered = read(audit_page(audit_folder))
    rendered.html = SCRIPT.sub("", rendered.html)
    assert [tag for tag, _ in rendered.elements].count("script") == 1
    rendered.elements = [element for element in rendered.elements if element[0] != "script"]
    rendered.assert_harmless()
    card = (audit_folder / "card.md").read_text()
    assert "\n# x" not in card
    assert "[a](b)" not in card
    assert "<script" not in card.replace("\\<script", "")


MISSING = {
    "membership_tests.csv": "Not recorded: membership_tests.csv is missing or empty.",
    "membership.csv": "Not recorded: membership.csv is missing or empty.",
    "images.csv": "Not recorded: images.csv is missing or empty.",
    "repeats.csv": "Not recorded: repeats.csv is missing or empty.",
    "records/preflight.json": "Not recorded: preflight.json is missing.",
    "records/claims.json": "claims.json is missing",
    "records/seed-0-attack-control.json": "No score was measured on an attack control.",
    "environment.json": "The command is not recorded: environment.json is missing.",
    "targets.csv": "No network is recorded: targets.csv is missing.",
}


@pytest.mark.usefixtures("without_charts")
def test_what_is_missing_is_named(audit_folder: Path, read: Show, page: Any) -> None:
    for name, words in MISSING.items():
        assert words not in page.text
        (audit_folder / name).unlink()
    for name in ("readiness.csv", "controls.csv"):
        (audit_folder / name).unlink()
    shutil.rmtree(audit_folder / "scores")
    rendered = read(audit_page(audit_folder))
    assert [name for name, words in MISSING.items() if words not in rendered.text] == []
    assert "Whether one can tell which images it was trained on was not tested" in rendered.text
    assert "What the model makes of images of other kinds was not measured." in rendered.text
    assert (
        "known leak (attack control) Membership: not tested. Reconstruction: not run, so this is not known."
        in rendered.text
    )


def test_of_many_images_the_most_exposed_are_shown(page: Any) -> None:
    table = page.html.partition('class="grid sortable"')[2].partition("</table>")[0]
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)[1:]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    assert len(cells) == 200
    p_values = [float(row[4]) for row in cells]
    assert p_values == sorted(p_values)
    assert cells[0][:3] == ["member", "0", "member-0.png"]
    assert "The 200 most exposed images of the pool" in page.text
    assert "images.csv beside this page has all of them" in page.text
    assert "5 members are named by a membership score." in page.text
    assert "No member is named by their reconstructions" in page.text


def test_card_and_summary_say_the_same(finished_audit: Path) -> None:
    from rich.console import Console

    card = model_card(finished_audit)
    assert (finished_audit / "card.md").read_text(encoding="utf-8") == card
    console = Console(width=200, file=None)
    with console.capture() as printed:
        console.print(audit_summary(finished_audit))
    for text in (card, printed.get()):
        assert "leaky.safetensors" in text
        assert "p 0.0004, level 0.01; 2 of 2 scores say leak." in text
        assert "1 of 20 splits of controls called a leak (p 0.36)" in text
    assert "No statement of compliance" in card


@pytest.mark.usefixtures("without_charts")
def test_of_a_model_behind_an_interface_nothing_is_said_that_takes_it(audit_folder: Path, read: Show) -> None:
    for name in ("table.csv", "controls.csv", "readiness.csv"):
        pd.read_csv(audit_folder / name).head(0).to_csv(audit_folder / name, index=False)
    config = audit_folder / "config.yaml"
    config.write_text("name: target\ndrawn_at_random: true\nalpha: 0.01\nseeds:\n- 0\n")
    _edit(audit_folder, "targets.csv", design="random-split")
    text = read(audit_page(audit_folder)).text
    assert (
        "One can tell which images it was trained on; whether training images can be made from it was not tested."
        in text
    )
    assert "Not tested: the model itself was not at hand, only what it answers." in text
    assert "attacker Black box" in text
    assert "Members and controls were drawn at random from one pool" in text
    for words in ("reads the weights", "every attack here", "ood fit", "named by their reconstructions"):
        assert words not in text.replace("attackers who read the weights", "")


def test_reference_scores_are_not_called_untested(audit_folder: Path, read: Show) -> None:
    for name in ("membership.csv", "membership_tests.csv"):
        frame = pd.read_csv(audit_folder / name)
        _edit(audit_folder, name, score=["rmia", *frame["score"][1:]])
    text = read(audit_page(audit_folder)).text
    assert "reference models (LiRA, RMIA)" not in text
    assert "shadow models" not in text
    assert "by rmia" in text
