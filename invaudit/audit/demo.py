"""A demonstration on the embedded digits: a planted leak has to be found, and a network that cannot leak be left alone.

Nothing is fetched. What it makes stays in a folder, so that every step can be done again by hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from invaudit.audit.model_audit import ModelAuditResult, audit_model
from invaudit.audit.model_settings import ModelAuditSettings
from invaudit.audit.settings import MethodChoice, MetricChoice
from invaudit.data import ImageSet, load, seeded_rng
from invaudit.leakage import TargetRecipe, train_target
from invaudit.models import Target, load_model, save_target
from invaudit.ood import fit
from invaudit.ood.guarded import FALSE_ALARM_RATE
from invaudit.runtime.console import notice
from invaudit.runtime.errors import ControlError, RunFolderError
from invaudit.runtime.files import npz_bytes, write_bytes
from invaudit.runtime.paths import inside, is_file, what_is

N_MEMBERS, N_CONTROLS, N_OTHERS = 40, 600, 400
RECIPE = TargetRecipe(arch="mlp-100", learning_rate=0.3, steps=1_500, weight_decay=1e-3)
"""Full-batch training to a perfect fit with weight decay: what makes a network leak."""
LEAKY, CLEAN = "leaky.safetensors", "clean.safetensors"


@dataclass(frozen=True)
class Demo:
    """What the demonstration made.

    Attributes:
        folder: Holds data, networks and both audits.
        leaky: Audit of the network that was trained on the members.
        clean: Audit of the network that was trained on other images; the question about the members is the same.
        rejected: Share of noise that a guard of the second network rejects at 5 % false alarms.
    """

    folder: Path
    leaky: ModelAuditResult
    clean: ModelAuditResult
    rejected: float


def run_demo(out: Path) -> Demo:
    """Train a network that leaks and one that cannot, audit both, and guard one.

    Args:
        out: The folder; the same call again goes on from what it holds.

    Raises:
        ControlError: The planted leak was not found, or the other network was called a leak: then no audit of this
            installation can be trusted.
    """
    if what_is(out, RunFolderError) and not is_file(out / LEAKY, RunFolderError) and inside(out, RunFolderError):
        raise RunFolderError(f"{out} holds other things; choose another --out for the demonstration")
    members, controls, others = _drawn(load("digits"))
    for name, images in (("members", members), ("controls", controls), ("others", others)):
        content = npz_bytes({"images": images.images.numpy(), "labels": images.labels.numpy()})
        write_bytes(out / f"{name}.npz", content)
    networks = {}
    for file, images in ((LEAKY, members), (CLEAN, others)):
        notice(f"training {file}")
        networks[file] = _trained(images, out / file)
    results = {}
    for file, target in networks.items():
        notice(f"auditing {file}")
        results[file] = audit_model(target, _settings(out), out / Path(file).stem, resume=True)
    notice(f"guarding {CLEAN}")
    demo = Demo(out, results[LEAKY], results[CLEAN], _rejected_noise(networks[CLEAN], controls))
    for problem in _problems(demo):
        raise ControlError(problem)
    return demo


def _drawn(digits: ImageSet) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Return members, controls and others at random."""
    order = torch.randperm(len(digits), generator=seeded_rng(0, "demo"))
    ends = (N_MEMBERS, N_MEMBERS + N_CONTROLS, N_MEMBERS + N_CONTROLS + N_OTHERS)
    members, controls, others = order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] : ends[2]]
    return digits.subset(members), digits.subset(controls), digits.subset(others)


def _trained(images: ImageSet, path: Path) -> Target:
    target = train_target(RECIPE, images.floats(), images.labels, images.classes, seeded_rng(0, f"demo/{path.stem}"))
    save_target(target.eval(), path)
    return load_model(path)


def _settings(folder: Path) -> ModelAuditSettings:
    """Return the settings of both audits: one attack and one metric, so that it takes a minute and no download."""
    return ModelAuditSettings(
        members=str(folder / "members.npz"),
        controls=str(folder / "controls.npz"),
        methods={"kkt": MethodChoice(kind="kkt", settings={"images": 80, "restarts": 1, "steps": 600})},
        metrics={"ssim": MetricChoice()},
        known_leak=RECIPE,
        draws=1_999,
        budget=0,
    )


def _rejected_noise(target: Target, images: ImageSet) -> float:
    """Guard a network as it is, and return the share of noise that it rejects at 5 % false alarms."""
    guarded = fit(images, seed=0, start=target, as_it_is=True)
    noise = torch.rand((200, *images.shape), generator=seeded_rng(0, "demo/noise"))
    return float((~guarded.judge(noise, alpha=FALSE_ALARM_RATE).accepted).double().mean())


def _problems(demo: Demo) -> Iterator[str]:
    """Yield what must not be: a planted leak that was missed, or a leak where none can be."""
    for question in ("membership", "reconstruction"):
        of_leaky, of_clean = getattr(demo.leaky, question), getattr(demo.clean, question)
        if of_leaky is None or of_leaky.verdict != "leak":
            yield f"the planted leak was not found ({question}), see {demo.leaky.folder}/report.html"
        if of_clean is not None and of_clean.verdict == "leak":
            yield (
                f"a network that never saw the members was called a leak ({question}), see "
                f"{demo.clean.folder}/report.html"
            )
