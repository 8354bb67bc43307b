"""``invaudit audit``: what a model gives away of its training images, and what it does not know."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from invaudit.cli.options import (
    Common,
    Duration,
    FailOn,
    Model,
    SeveralData,
    Whole,
    exit_code,
    print_json,
    verdict_report,
)
from invaudit.cli.printing import print_table

if TYPE_CHECKING:
    from invaudit.audit import ModelAuditResult


def audit(
    model: Path | None = None,
    /,
    *,
    members: str,
    controls: str,
    reference: str | None = None,
    ood: SeveralData | None = None,
    reference_model: SeveralData | None = None,
    train_references: Whole | None = None,
    train_references_on: str | None = None,
    budget: Duration | None = None,
    images: Literal["none", "full"] | None = None,
    drop_duplicates: bool | None = None,
    download: bool | None = None,
    fail_on: FailOn | None = None,
    network: Model = Model(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Audit a model: does it give away its training data, and does it know what it does not know?

    The verdicts assume that members and controls differ in nothing but membership. The same command again goes on where
    it was stopped, and takes sets that were added to --ood.

    Args:
        model: The network, as --model.
        members: DATA: images that the model was trained on, with their classes.
        controls: DATA: images of the same source that it was not trained on, with their classes.
        reference: DATA: further images of the source, in neither; they help most attacks, and give the scoring limit.
            By default every fifth control, where there are 500 or more.
        ood: DATA of other kinds, which the model should not know; several may follow.
        reference_model: Models of the same task that were trained on none of the members and controls; several may
            follow. They make membership scores much stronger (RMIA, LiRA).
        train_references: Number of such models to train here, like the model; what it costs is said beforehand.
        train_references_on: DATA for them.
        budget: Time for all of it, about, e.g. 90s, 20m or 3h; none: as long as it takes. By default 20m. Steps of the
            attacks are cut for it, which is said.
        images: full: keep images in the folder and show them in its report.
        drop_duplicates: Leave out images that are both member and control.
        download: Fetch published weights, or the trunk weights of LPIPS, where they are not found.
        fail_on: Exit with code 3 where one can tell members or make images of them (leak), or (inconclusive) also where
            either question has no answer.
    """
    common.start("precision", "workers", resumes=True)
    target = network.required(model, "to audit", common.device, download=bool(download))
    from invaudit.audit import ModelAuditSettings, audit_model

    settings = common.settings(
        ModelAuditSettings,
        members=members,
        controls=controls,
        reference=reference,
        ood=ood,
        reference_models=reference_model,
        train_references=train_references,
        train_references_on=train_references_on,
        images=images,
        drop_duplicates=drop_duplicates,
        download=download,
        seeds=common.seeds,
        device=common.device,
        budget=budget,
    )
    out = common.out or Path("runs") / f"audit-{(model or network.model or Path('model')).stem}"
    result = audit_model(target, settings, out, resume=True)
    _print(result, as_json=common.json)
    return max(exit_code(result.membership, fail_on), exit_code(result.reconstruction, fail_on))


def _print(result: "ModelAuditResult", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "folder": str(result.folder),
                "membership": verdict_report(result.membership),
                "reconstruction": verdict_report(result.reconstruction),
                "tests": [row.model_dump() for row in result.tests],
                "readiness": [row.model_dump() for row in result.readiness],
            }
        )
        return
    from invaudit.report import leakage_table
    from invaudit.report.leakage.readiness import readiness_table

    print_table(leakage_table(result.folder), "")
    print_table(readiness_table(result.readiness), f"Results: {result.folder}/report.html, audit.json")
