"""``invaudit leakage reconstruct``, ``invaudit leakage score`` and ``invaudit leakage attack-control``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from invaudit.cli.options import Common, FailOn, JobOptions, Model, exit_code, print_json
from invaudit.cli.printing import print_table
from invaudit.runtime.errors import ConfigError
from invaudit.runtime.numbers import whole_number
from invaudit.runtime.text import shown

if TYPE_CHECKING:
    from invaudit.audit import ScoreResult
    from invaudit.leakage import ReconstructionRun
    from invaudit.runtime import Settings

app = App(name="leakage", help="Reconstruct training images, and say whether reconstructions show a leak.")


@app.command
def reconstruct(
    model: Path | None = None,
    /,
    *,
    method: str = "kkt",
    reference: str | None = None,
    download: Annotated[bool, Parameter(negative="")] = False,
    network: Model = Model(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Make images from a network alone that are meant to resemble its training images.

    Writes reconstructions.npz (images, labels), which ``invaudit leakage score`` takes, and a gallery.

    Args:
        model: The network, as --model.
        method: kkt, generator, tldr or deepinversion; --set sets its fields, e.g. --set restarts=1.
        reference: DATA: images of the same kind that the network was not trained on; they help most methods.
        download: Fetch published weights that are not there; nothing is fetched otherwise.
    """
    common.start()
    if reference is None:
        common.refuse("workers", where="without --reference")
    target = network.required(model, "to reconstruct from", common.device, download=download)
    from invaudit.data import load
    from invaudit.leakage import run_reconstruction
    from invaudit.models.suitability import refuse_misfit

    settings = _method_settings(method, common)
    images = None
    if reference is not None:
        images = load(reference, wanted=target.spec.pictures)
        refuse_misfit(target, images, reference)
    folder = common.folder("reconstructions")
    run = run_reconstruction(
        target, method, settings, folder, seed=common.seed(), reference=images, resume=common.resume
    )
    _print_reconstructions(run, as_json=common.json)
    return 0


def _method_settings(method: str, common: Common) -> "Settings":
    from invaudit.leakage import METHODS

    if method not in METHODS:
        raise ConfigError(f"--method {method!r} is unknown, expected one of {', '.join(METHODS)}")
    kind = METHODS[method].settings
    if "precision" in kind.model_fields:
        return common.settings(kind, precision_key="precision")
    common.refuse("precision", where=f"with --method {method}")
    return common.settings(kind)


def _print_reconstructions(run: "ReconstructionRun", *, as_json: bool) -> None:
    if as_json:
        print_json({"folder": str(run.folder), **run.report()})
        return
    print(f"Outcome: {run.reconstructions.outcome}. {run.reconstructions.message}")
    print(f"{len(run.reconstructions)} reconstructions: {run.folder}/reconstructions.npz")


@app.command
def score(
    reconstructions: str,
    members: str,
    controls: str,
    *,
    pairs: Path | None = None,
    groups: Path | None = None,
    reference: str | None = None,
    attack_control: Path | None = None,
    metric: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    images: Literal["none", "full"] | None = None,
    used_members: bool | None = None,
    drop_duplicates: bool | None = None,
    download: bool | None = None,
    fail_on: FailOn | None = None,
    jobs: JobOptions = JobOptions(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Say whether reconstructions, by whatever attack, show that a network leaks its training images.

    Without --pairs the verdict assumes that members and controls differ in nothing but membership.

    Args:
        reconstructions: DATA: all images that the attack gave, e.g. reconstructions.npz.
        members: DATA: images that the network was trained on.
        controls: DATA: images of the same source that it was not trained on.
        pairs: CSV file with the columns member and control (positions from 0): same-class pairs of which a fair coin,
            tossed before training, named the member.
        groups: CSV file with the columns side (member or control), index (from 0) and group, e.g. the patient: without
            --pairs, the labels of a group move together.
        reference: DATA: further images of the source, for the cosine and for the scoring limit.
        attack_control: Folder of ``invaudit leakage attack-control``: the same attack on a network that is known to
            leak. Without it the verdict is never no-evidence, since an attack may miss any leak.
        metric: ssim, lpips-alex, lpips-squeeze or cosine, with :SIDE to resize first, e.g. --metric lpips-alex:32; may
            be repeated. All are one family of tests.
        images: full: keep images in the folder and show them in its report.
        used_members: Say so if any setting, choice or statistic of the attack used members: nothing is concluded then.
        drop_duplicates: Leave out images that are both member and control.
        download: Fetch the trunk weights of LPIPS where they are not found.
        fail_on: Exit with code 3 on a leak, or (inconclusive) also when nothing can be concluded.
    """
    common.start("precision")
    from invaudit.audit import ScoreSettings
    from invaudit.audit import score as run_score
    from invaudit.report import leakage_table
    from invaudit.runtime.executor import ONE_AT_A_TIME

    # Alone, a search takes all cores by itself; --workers is about picture files then.
    executor = ONE_AT_A_TIME if jobs == JobOptions() else jobs.choice(common)

    settings = common.settings(
        ScoreSettings,
        reconstructions=reconstructions,
        members=members,
        controls=controls,
        pairs=pairs,
        groups=groups,
        reference=reference,
        attack_control=attack_control,
        metrics=dict(map(_metric, metric)) or None,
        images=images,
        used_members=used_members,
        drop_duplicates=drop_duplicates,
        download=download,
        seeds=common.seeds,
        device=common.device,
    )
    result = run_score(settings, common.folder("score"), resume=common.resume, executor=executor)
    if common.json:
        print_json(_score_report(result))
    else:
        print_table(leakage_table(result.folder), f"Results: {result.folder}/report.html, audit.json, neighbours.csv")
        if result.advice:
            print(result.advice)
    return exit_code(result.verdict, fail_on)


def _score_report(result: "ScoreResult") -> dict[str, Any]:
    return {
        "folder": str(result.folder),
        "verdict": result.verdict.verdict if result.verdict else None,
        "reasons": list(result.verdict.reasons) if result.verdict else [],
        "advice": result.advice,
        "rows": [row.model_dump() for row in result.rows],
    }


@app.command
def attack_control(
    *,
    method: str | None = None,
    data: str | None = None,
    reference: bool | None = None,
    common: Common = Common(),  # noqa: B008
) -> int:
    """Train a network that is known to leak and attack it: an attack that misses its leak says nothing by silence.

    Writes a folder that ``invaudit leakage score`` takes as --attack-control. Give the method and its settings as for
    the audited network. For an attack of your own, leave --method out, run the attack on the folder's
    target.safetensors, and save all images that it gives as reconstructions.npz in the folder.

    Args:
        method: kkt, generator, tldr or deepinversion; --set settings.FIELD=VALUE sets its fields.
        data: DATA with labels, from which members and controls are drawn; by default the embedded digits.
        reference: Give the attack reference images of the same data, as --reference does in reconstruct.
    """
    common.start("precision")
    from invaudit.audit import AttackControlSettings, make_attack_control

    settings = common.settings(
        AttackControlSettings,
        method=method,
        data=data,
        reference=reference,
        seeds=common.seeds,
        device=common.device,
    )
    result = make_attack_control(settings, common.folder("attack-control"), resume=common.resume)
    if common.json:
        print_json({"folder": str(result.folder), "target": str(result.target), "count": result.count})
    else:
        print(result.advice)
    return 0


def _metric(text: str) -> tuple[str, int | None]:
    name, found, text_of_side = text.partition(":")
    side = whole_number(text_of_side)
    if found and not side:
        raise ConfigError(f"--metric {shown(text)}: expected NAME or NAME:SIDE, e.g. lpips-alex:32")
    return name, side
