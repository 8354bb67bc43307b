"""``invaudit audit``: what a model gives away of its training images, and what it does not know."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from invaudit.cli.options import Common, FailOn, Model, SeveralData, exit_code, print_json
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
    images: Literal["none", "full"] | None = None,
    drop_duplicates: bool | None = None,
    download: bool | None = None,
    fail_on: FailOn | None = None,
    network: Model = Model(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Audit a model: does it give away its training data, and does it know what it does not know?

    The verdict assumes that members and controls differ in nothing but membership.

    Args:
        model: The network, as --model.
        members: DATA: images that the model was trained on, with their classes.
        controls: DATA: images of the same source that it was not trained on, with their classes.
        reference: DATA: further images of the source, in neither; they help most attacks, and give the scoring limit.
        ood: DATA of other kinds, which the model should not know; several may follow.
        images: full: keep images in the folder and show them in its report.
        drop_duplicates: Leave out images that are both member and control.
        download: Fetch published weights, or the trunk weights of LPIPS, where they are not found.
        fail_on: Exit with code 3 where images can be made from the model (leak), or (inconclusive) also when nothing
            can be concluded. Membership is measured, and has no verdict yet.
    """
    common.start("precision", "workers")
    target = network.required(model, "to audit", common.device, download=bool(download))
    from invaudit.audit import ModelAuditSettings, audit_model

    settings = common.settings(
        ModelAuditSettings,
        members=members,
        controls=controls,
        reference=reference,
        ood=ood,
        images=images,
        drop_duplicates=drop_duplicates,
        download=download,
        seeds=common.seeds,
        device=common.device,
    )
    result = audit_model(target, settings, common.folder("audit"), resume=common.resume)
    _print(result, as_json=common.json)
    return exit_code(result.verdict, fail_on)


def _print(result: "ModelAuditResult", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "folder": str(result.folder),
                "reconstruction": result.verdict.verdict if result.verdict else None,
                "reasons": list(result.verdict.reasons) if result.verdict else [],
                "tests": [row.model_dump() for row in result.tests],
                "readiness": [row.model_dump() for row in result.readiness],
            }
        )
        return
    from invaudit.report import leakage_table
    from invaudit.report.leakage.readiness import readiness_table

    print_table(leakage_table(result.folder), "")
    print_table(readiness_table(result.readiness), f"Results: {result.folder}/report.html, audit.json")
