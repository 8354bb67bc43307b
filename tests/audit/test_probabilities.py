"""The audit of a model from its answers: the same scores as with it, and nothing concluded that takes images."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional

from invaudit.audit.probabilities import ProbabilityAuditSettings, audit_probabilities
from invaudit.audit.probability_files import read_answers
from invaudit.records import AuditRecord
from invaudit.records.folder import read_record
from invaudit.runtime.errors import DataError, InputError

CLASSES = 4


def write(path, logits, labels):
    table = pd.DataFrame(functional.softmax(logits, 1).numpy(), columns=[f"p{k}" for k in range(logits.shape[1])])
    table.insert(0, "label", labels.numpy())
    table.to_csv(path, index=False)


@pytest.fixture
def answers(tmp_path):
    """Answers of a model that is surer of its 60 members, and of two that were trained on neither."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (360,), generator=draw)
    hard = torch.randn((360, CLASSES), generator=draw).double()

    def logits(extra):
        return hard + 0.3 * torch.randn((360, CLASSES), generator=draw) + extra * functional.one_hot(labels, CLASSES)

    own = logits((torch.arange(360) < 60).double()[:, None] * 3 + 1)
    write(tmp_path / "members.csv", own[:60], labels[:60])
    write(tmp_path / "controls.csv", own[60:], labels[60:])
    for number in range(3):
        write(tmp_path / f"reference-{number}.csv", logits(1.0), labels)
    return tmp_path, own, labels


def settings(folder, **changes):
    known = {"members": folder / "members.csv", "controls": folder / "controls.csv", "draws": 999}
    return ProbabilityAuditSettings.model_validate(known | changes)


def test_scores_are_those_of_the_logits(answers):
    folder, own, labels = answers
    read = read_answers(folder / "members.csv")
    np.testing.assert_allclose(read.loss, -functional.cross_entropy(own[:60], labels[:60], reduction="none"))
    own_logit = own[:60].gather(1, labels[:60, None])
    others = own[:60].scatter(1, labels[:60, None], -torch.inf)
    np.testing.assert_allclose(read.margin, (own_logit - others).amin(1))
    np.testing.assert_allclose(read.log_odds, own_logit[:, 0] - others.logsumexp(1))


@pytest.mark.slow
def test_a_model_that_is_surer_of_its_members_leaks_where_they_were_drawn_at_random(answers, tmp_path):
    folder, _, _ = answers
    references = [folder / f"reference-{number}.csv" for number in range(3)]
    result = audit_probabilities(settings(folder, drawn_at_random=True, references=references), tmp_path / "run")
    assert (result.membership.verdict, result.reconstruction) == ("leak", None)
    scores = read_record(result.folder, "seed-0-target", AuditRecord).membership
    assert scores["lira-offline"].auroc > scores["loss"].auroc > 0.7
    rows = pd.read_csv(result.folder / "images.csv")
    assert rows.query("side == 'member'")["membership_claimed"].mean() > 0.3
    again = audit_probabilities(
        settings(folder, drawn_at_random=True, references=references), tmp_path / "run", resume=True
    )
    assert again.membership == result.membership


@pytest.mark.slow
def test_without_images_and_without_a_word_on_the_draw_nothing_is_concluded(answers, tmp_path):
    result = audit_probabilities(settings(answers[0]), tmp_path / "run")
    assert (result.membership.verdict, result.membership.reasons) == ("inconclusive", ("no-control",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("label,p0\n0,1\n", "columns label, p0, p1"),
        ("label,p1,p0\n0,1,0\n", "columns label, p0, p1"),
        ("label,p0,p1\n", "0 rows"),
        ("label,p0,p1\n2,0.5,0.5\n", "line 2: expected a label from 0 to 1"),
        ("label,p0,p1\n0,0.5,0.5\n0.5,0.5,0.5\n", "line 3: expected a label"),
        ("label,p0,p1\n0,1.5,-0.5\n", "probabilities from 0 to 1"),
        ("label,p0,p1\n0,0.5,0.2\n", "sum to 1"),
        ("label,p0,p1\n0,nan,0.2\n", "probabilities from 0 to 1"),
        ("label,p0,p1\n0,0.5,0.5,9\n", "cannot be read as numbers"),
        ("label,p0,p1\n0,0.5,0.5\n0,0.5,0.5,9\n", "cannot be read as numbers"),
        ("label,p0,p1\n0,1\n", "probabilities from 0 to 1"),
        ("label,p0,p1\n0,high,low\n", "cannot be read as numbers"),
        ("", "cannot be read as numbers"),
    ],
)
def test_files_that_are_no_answers_are_refused(tmp_path, content, said):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(DataError, match=said):
        read_answers(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"controls": "other.csv"}, "has 3 classes"),
        ({"references": ["members.csv", "members.csv"]}, "60 rows"),
        ({"references": ["reference-0.csv"]}, "expected at least 2"),
        ({"members": "nowhere.csv"}, "is not there"),
    ],
)
def test_files_that_do_not_fit_are_refused_before_anything_is_written(answers, tmp_path, changes, said):
    folder, own, labels = answers
    write(folder / "other.csv", own[:60, :3], labels[:60].clamp_max(2))
    given = {}
    for key, value in changes.items():
        given[key] = [folder / name for name in value] if isinstance(value, list) else folder / value
    with pytest.raises((InputError, ValueError), match=said):
        audit_probabilities(settings(folder, **given), tmp_path / "run")
    assert not (tmp_path / "run").exists()
