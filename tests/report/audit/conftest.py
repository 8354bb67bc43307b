"""Small folders of audits with invented figures, in the form that ``invaudit audit`` writes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from invaudit.records import (
    AuditRecord,
    ControlRow,
    MembershipResult,
    MembershipRow,
    ReadinessRow,
    TargetRow,
    TestRow,
    write_rows,
)
from invaudit.records.audit_gallery import GalleryRecord
from invaudit.records.explain import BorderRow, BordersRecord, InversionRecord, PairRow
from invaudit.records.leakage import MetricRow, TargetDescription
from invaudit.records.model_audit import (
    Accuracy,
    ClaimsRecord,
    ImageRow,
    MembershipTestRow,
    PlannedStage,
    PlanRecord,
    PreflightRecord,
    RepeatRow,
    StageRow,
)
from invaudit.report import audit_page
from invaudit.report.audit import pictures
from invaudit.runtime import content_hash

N_MEMBERS, N_CONTROLS = 40, 200
METHODS, SCORES = ("kkt", "generator"), ("loss", "margin")
HASH = content_hash("model")
P = {"leak": 0.0004, "no-evidence": 0.5, "inconclusive": 0.5}
REASON = {"inconclusive": "attack-failed"}


def _tables(folder: Path, membership: str, reconstruction: str) -> None:
    sizes = {"target": "target", "design": "observational", "seed": 0, "n_members": N_MEMBERS, "n_control": N_CONTROLS}
    tests = [
        TestRow(**sizes, method=method, metric="ssim", n_reconstructions=30, similarity_member=0.6,
                similarity_control=0.5, distinct_hits=20, p_value=P[reconstruction] / 2, p_adjusted=P[reconstruction],
                verdict=reconstruction, verdict_reason=REASON.get(reconstruction), scoring_limit=9, blind_auroc=0.51,
                blind_p=0.4, seconds=3.0, status="ok")
        for method in METHODS
    ]  # fmt: skip
    write_rows(folder / "table.csv", TestRow, tests)
    scored = [
        MembershipRow(**sizes, score=score, auroc=0.9, auroc_low=0.8, auroc_high=0.95, p_value=0.01, status="ok",
                      reason="no TPR at 1 % FPR: under 1,000 controls")
        for score in (*SCORES, "kkt:ssim")
    ]  # fmt: skip
    write_rows(folder / "membership.csv", MembershipRow, scored)
    judged = [
        MembershipTestRow(**sizes, score=score, auroc=0.9, p_value=P[membership] / 2, p_adjusted=P[membership],
                          verdict=membership, verdict_reason=REASON.get(membership), status="ok")
        for score in SCORES
    ]  # fmt: skip
    write_rows(folder / "membership_tests.csv", MembershipTestRow, judged)
    write_rows(folder / "metrics.csv", MetricRow, [MetricRow(metric="ssim", better="higher")])
    found = {"kkt": "leak", "generator": "no-evidence"}
    controls = [
        ControlRow(kind="attack", target="attack-control", method=method, metric="ssim", seed=0, p_value=0.001,
                   verdict=verdict, status="ok")
        for method, verdict in found.items()
    ]  # fmt: skip
    write_rows(folder / "controls.csv", ControlRow, controls)
    target = TargetRow(**sizes, train_accuracy=1.0, control_accuracy=0.75, description="invaudit:mlp-300", hash=HASH)
    write_rows(folder / "targets.csv", TargetRow, [target])
    readiness = [
        ReadinessRow(detector=detector, ood_set=name, group=group, n=50, auroc=None if group == "id" else 0.9,
                     rejected=rejected)
        for detector in ("joint", "KNN")
        for name, group, rejected in (("id-test", "id", 0.04), ("uniform", "noise", 0.9), ("mine.npz", "given", 0.62))
    ]  # fmt: skip
    write_rows(folder / "readiness.csv", ReadinessRow, readiness)
    repeats = []
    for question in ("membership", "reconstruction"):
        for number in range(20):
            row = {"question": question, "repeat": number, "p_adjusted": 0.5}
            repeats.append(RepeatRow(kind="null-halves", leak=number == 0, **row))
            repeats.append(RepeatRow(kind="draw", leak=number < 19, **row))
        repeats.append(RepeatRow(kind="null-order", question=question, repeat=0, p_adjusted=0.7, leak=False))
    write_rows(folder / "repeats.csv", RepeatRow, repeats)
    sides = [("member", N_MEMBERS), ("control", N_CONTROLS)]
    images = [
        ImageRow(side=side, index=index, file=f"{side}-{index}.png", label=index % 10, membership_score="loss",
                 membership_p=(1 + index) / 200 if side == "member" else 0.3,
                 membership_claimed=side == "member" and index < 5,
                 reconstruction_score="kkt:ssim", reconstruction_p=0.5, reconstruction=index % 30, similarity=0.7,
                 rank=index + 1, reconstruction_claimed=False)
        for side, count in sides
        for index in range(count)
    ]  # fmt: skip
    write_rows(folder / "images.csv", ImageRow, images)
    stages = [StageRow(stage="attacks", settings="kkt 100 steps", planned=20.0, seconds=21.5, cut="12% of the steps")]
    write_rows(folder / "stages.csv", StageRow, stages)


def _records(folder: Path) -> None:
    good = Accuracy(value=1.0, low=0.91, high=1.0, n=N_MEMBERS)
    worse = Accuracy(value=0.75, low=0.68, high=0.81, n=N_CONTROLS)
    stage = PlannedStage(name="attacks", settings="kkt 100 steps", seconds=20.0, cut="12% of the steps")
    known = AuditRecord(
        target=TargetDescription(design="pairs", n_members=40, n_control=40, hash=content_hash("known")),
        membership={
            "loss": MembershipResult(auroc=0.8, auroc_low=0.7, auroc_high=0.9, p_value=0.0002, attainable_p=0.0001),
            "margin": MembershipResult(auroc=0.6, auroc_low=0.5, auroc_high=0.7, p_value=0.2, attainable_p=0.0001),
        },
    )
    records: dict[str, Any] = {
        "preflight": PreflightRecord(
            members=good, controls=worse, gap=0.25, gap_low=0.1, gap_high=0.32, model="leaky.safetensors",
            preparation="pictures have the model's size", both_sides=0, near_copies=3, near_similarity=0.95,
            notes=("3 of 200 controls are nearly copies of members.",),
        ),
        "plan": PlanRecord(
            budget_s=600, steps={"kkt": 100, "generator": 50}, left_out={"deepinversion": "it has no batch norm"},
            most=1000, weighed=1000, stages=(stage,),
        ),
        "claims": ClaimsRecord(rate=0.1, membership=5, reconstruction=0, notes={}),
        "seed-0-attack-control": known,
    }  # fmt: skip
    for name, record in records.items():
        (folder / "records" / f"{name}.json").write_text(record.model_dump_json(), encoding="utf-8")


def _gallery(folder: Path) -> None:
    """Write a gallery of three classes of ten, of which two touch."""
    search = InversionRecord(
        by="generator", outcome="uninformative", message="they are alike", accuracy=(1.0, 0.5, 0.0)
    )
    names = {"first": 0, "touches": True, "confused": 0.02}
    pairs = (PairRow(second=2, distance=0.5, **names), PairRow(second=1, distance=None, **names))
    border = BorderRow(by="pixels", first=0, second=2, p_first=0.5, p_second=0.5, p_third=0.0, distance=0.5,
                       attack_distance=0.4, second_model_class=None, second_model_p=None, status="reached")  # fmt: skip
    record = GalleryRecord(
        classes=(0, 1, 2), n_classes=10, class_names=("zero", "one", "two"), share_of_steps=0.125, inversion=search,
        borders=BordersRecord(attack="ddn", starts="real", borders=(border,), pairs=pairs),
    )  # fmt: skip
    (folder / "records" / "gallery.json").write_text(record.model_dump_json(), encoding="utf-8")
    images = np.random.default_rng(1).integers(0, 256, (3, 5, 1, 8, 8), dtype=np.uint8)
    np.savez(folder / "scores/seed-0/target/gallery.npz", images=images)


def _arrays(folder: Path, *, images: bool) -> None:
    place = folder / "scores/seed-0/target"
    place.mkdir(parents=True)
    rng, n = np.random.default_rng(0), N_MEMBERS + N_CONTROLS
    member = np.arange(n) < N_MEMBERS
    pool = {"member": member, "labels": np.arange(n) % 10, "stratum": np.arange(n) % 10, "source": np.arange(n)}
    np.savez(place / "pool.npz", **pool)
    np.savez(place / "scored.npz", **pool)
    np.savez(place / "signals.npz", **{score: rng.normal(1.5 * member) for score in SCORES})
    for method in METHODS:
        similarity = rng.random((30, n)) + 0.4 * member
        index = np.argsort(-similarity, axis=1)
        arrays = {"labels": np.arange(30) % 10, "ssim-index": index}
        arrays["ssim-value"] = np.take_along_axis(similarity, index, axis=1)
        if images:
            arrays["images"] = rng.integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)
        np.savez(place / f"{method}.npz", allow_pickle=False, **arrays)
    if images:
        np.savez(place / "images.npz", images=rng.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8))


@pytest.fixture(scope="session")
def make_audit() -> Callable[..., Path]:
    """Return a function that writes a whole folder of an audit."""

    def make(folder: Path, membership: str = "leak", reconstruction: str = "leak", images: str = "none") -> Path:
        (folder / "records").mkdir(parents=True)
        _tables(folder, membership, reconstruction)
        _records(folder)
        _arrays(folder, images=images == "full")
        if images == "full":
            _gallery(folder)
        config = f"name: target\ncontrols: controls.npz\nimages: {images}\nalpha: 0.01\nseeds:\n- 0\n"
        (folder / "config.yaml").write_text(config, encoding="utf-8")
        environment = {"date": "2026-11-30", "command": ["invaudit", "audit", "leaky.safetensors"]}
        (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def finished_audit(make_audit: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole folder of an audit without images that leaks, with its page; not to be changed."""
    folder = make_audit(tmp_path_factory.mktemp("finished") / "audit")
    audit_page(folder)
    return folder


@pytest.fixture
def audit_folder(finished_audit: Path, tmp_path: Path) -> Path:
    """The same, of the test's own."""
    return Path(shutil.copytree(finished_audit, tmp_path / "audit"))


@pytest.fixture(scope="session")
def picture_audit(make_audit: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole folder of an audit with images, with its page; not to be changed."""
    folder = make_audit(tmp_path_factory.mktemp("finished") / "pictures", images="full")
    audit_page(folder)
    return folder


@pytest.fixture
def without_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which takes most of the time, where the words are tested."""
    monkeypatch.setattr(pictures, "png", lambda _: b"\x89PNG\r\n\x1a\n" + bytes(16))
    for name in ("standing", "nearest_shares", "rejected", "aurocs"):
        monkeypatch.setattr(pictures.figures, name, lambda *_: None)
