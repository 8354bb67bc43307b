"""``invaudit audit``: what a model gives away of its training images, and what it does not know."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from invaudit.cli.options import (
    Common,
    Duration,
    FailOn,
    Model,
    SeveralData,
    SeveralFiles,
    Whole,
    exit_code,
    print_json,
    refuse_given,
    verdict_report,
)
from invaudit.cli.printing import print_table
from invaudit.runtime.errors import ConfigError

if TYPE_CHECKING:
    from invaudit.audit import ModelAuditResult


def audit(
    model: Path | None = None,
    /,
    *,
    members: str | None = None,
    controls: str | None = None,
    reference: str | None = None,
    ood: SeveralData | None = None,
    reference_model: SeveralData | None = None,
    train_references: Whole | None = None,
    train_references_on: str | None = None,
    probabilities: tuple[Path, Path] | None = None,
    reference_probabilities: SeveralFiles | None = None,
    drawn_at_random: bool | None = None,
    budget: Duration | None = None,
    images: Literal["none", "full"] | None = None,
    drop_duplicates: bool | None = None,
    card: Annotated[bool, Parameter(negative="")] = False,
    download: bool | None = None,
    fail_on: FailOn | None = None,
    network: Model = Model(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Audit a model: does it give away its training data, and does it know what it does not know?

    The verdicts assume that members and controls differ in nothing but membership. The same command again goes on where
    it was stopped, and takes sets that were added to --ood.

    Args:
        model: The network, as --model; by default the one that --config names.
        members: DATA: images that the model was trained on, with their classes.
        controls: DATA: images of the same source that it was not trained on, with their classes.
        reference: DATA: further images of the source, in neither; they help most attacks, and give the scoring limit.
            By default every fifth control, where there are 500 or more.
        ood: DATA of other kinds, which the model should not know; several may follow.
        reference_model: Models of the same task that were trained on none of the members and controls; several may
            follow. They make membership scores much stronger (RMIA, LiRA).
        train_references: Number of such models to train here, like the model; what it costs is said beforehand.
        train_references_on: DATA for them.
        probabilities: In place of a model and images, what the model answers to members and to controls: two CSV files
            with the columns label, p0, p1, ..., one row for each image. Reconstruction is not tested then.
        reference_probabilities: The same of reference models that were trained on none of them, a file for each: the
            rows of the members, then those of the controls.
        drawn_at_random: Say so if members and controls were drawn at random from one pool of images: without images
            nothing else shows that they do not differ by themselves.
        budget: Time for all of it, about, e.g. 90s, 20m or 3h; none: as long as it takes. By default 20m. Steps of the
            attacks are cut for it, which is said.
        images: full: keep images in the folder and show them in its report, with a gallery of what each class looks
            like to the model, and an atlas of which classes touch.
        drop_duplicates: Leave out images that are both member and control.
        card: Print a block for a model card, in Markdown, in place of the summary.
        download: Fetch published weights, of reference models too, or the trunk weights of LPIPS, where they are not
            found.
        fail_on: Exit with code 3 where one can tell members or make images of them (leak), or (inconclusive) also where
            either question has no answer.
    """
    common.start("precision", resumes=True)
    if common.json:
        refuse_given("with --json", card=card or None)
    of_images = {
        "members": members,
        "controls": controls,
        "reference": reference,
        "ood": ood,
        "train_references": train_references,
        "train_references_on": train_references_on,
        "budget": budget,
        "images": images,
        "drop_duplicates": drop_duplicates,
        "download": download,
    }
    if probabilities is not None:
        where = "with --probabilities"
        refuse_given(where, **{"model": model} | network.given(), reference_model=reference_model, **of_images)
        return _audit_probabilities(
            probabilities, reference_probabilities, drawn_at_random, card=card, fail_on=fail_on, common=common
        )
    refuse_given(
        "without --probabilities",
        reference_probabilities=reference_probabilities,
        drawn_at_random=drawn_at_random,
    )
    if common.config is None and (members is None or controls is None):
        raise ConfigError(
            "--members and --controls are needed: images that the model was trained on, and images of the same source "
            "that it was not (or --probabilities, where only its answers are at hand)"
        )
    from invaudit.audit import ModelAuditSettings, audit_model

    settings = common.settings(
        ModelAuditSettings,
        reference_models=reference_model,
        seeds=common.seeds,
        device=common.device,
        **of_images,
    )
    if model is None and network.model is None and settings.model:
        model = Path(settings.model)
    target = network.required(model, "to audit", common.device, download=settings.download)
    named = model or network.model or Path()
    # Pages show the name of the file, and not where it lies.
    settings = settings.model_copy(update={"model": named.name})
    result = audit_model(target, settings, common.out or Path("runs") / f"audit-{named.stem}", resume=True)
    _print(result, card=card, as_json=common.json)
    return max(exit_code(result.membership, fail_on), exit_code(result.reconstruction, fail_on))


def _audit_probabilities(
    probabilities: tuple[Path, Path],
    references: tuple[Path, ...] | None,
    drawn_at_random: bool | None,
    *,
    card: bool,
    fail_on: FailOn | None,
    common: Common,
) -> int:
    """Audit a model of which only the answers are at hand."""
    from invaudit.audit.probabilities import ProbabilityAuditSettings, audit_probabilities

    common.refuse("device", "workers", where="with --probabilities")
    settings = common.settings(
        ProbabilityAuditSettings,
        members=probabilities[0],
        controls=probabilities[1],
        references=references,
        drawn_at_random=drawn_at_random,
        seeds=common.seeds,
    )
    out = common.out or Path("runs") / f"audit-{probabilities[0].stem}"
    result = audit_probabilities(settings, out, resume=True)
    _print(result, card=card, as_json=common.json)
    return exit_code(result.membership, fail_on)


def _print(result: "ModelAuditResult", *, card: bool, as_json: bool) -> None:
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
    from invaudit.report import audit_summary, model_card

    if card:
        print(model_card(result.folder), end="")
        return
    print_table(audit_summary(result.folder), f"Results: {result.folder}/report.html, card.md, audit.json")
