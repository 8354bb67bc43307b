"""``invaudit invert``: what a network takes for each class."""

from cyclopts import App

from invaudit.cli.options import Common, Model, print_json
from invaudit.runtime.errors import ConfigError

app = App(name="invert", help="Show what a network takes for each class: a gallery with its diagnostics.")


@app.default
def invert(
    *,
    images: int = 8,
    model: Model = Model(),  # noqa: B008
    common: Common = Common(),  # noqa: B008
) -> int:
    """Train a conditioned generator against a network and write a gallery per class.

    Args:
        images: Inversions per class in the gallery.
    """
    common.start("workers")
    target = model.load()
    if target is None:
        raise ConfigError("--model is missing: the network to invert")
    if images < 1:
        raise ConfigError(f"--images {images}: expected at least 1")
    import torch

    from invaudit.data import seeded_rng
    from invaudit.data.image_set import eight_bits
    from invaudit.inversion import InversionSettings, diagnose
    from invaudit.inversion import invert as run_inversion
    from invaudit.models import resolve_device
    from invaudit.report import gallery, write_figure
    from invaudit.runtime import RunFolder, load_config, write_json

    settings = load_config(InversionSettings, common.config or "invert/default", common.set, precision=common.precision)
    target = target.to(resolve_device(common.device or "auto"))
    inputs = (target.hash, str(common.seed()))
    with RunFolder.open(common.folder("invert"), settings, resume=common.resume, inputs=inputs) as folder:
        rng = seeded_rng(common.seed(), "invert")
        inversion = run_inversion(target, settings, rng, checkpoint=folder.path / "work.pt")
        found = diagnose(inversion, target, seeded_rng(common.seed(), "invert/diagnosis"))
        labels = torch.arange(target.classes).repeat_interleave(images)
        made = inversion.sample(labels, seeded_rng(common.seed(), "invert/gallery"))
        pictures = eight_bits(made.cpu()).view(target.classes, images, *target.spec.shape).numpy()
        titles = [f"{label}: {share:.0%}" for label, share in enumerate(found.accuracy_per_class)]
        write_figure(gallery(pictures, titles), folder.path / "figures" / "gallery.png")
        report = {"outcome": inversion.outcome, "message": inversion.message, **found.as_dict()}
        write_json(folder.path / "diagnosis.json", report)
        (folder.path / "work.pt").unlink(missing_ok=True)
    if common.json:
        print_json({"folder": str(folder.path), **report})
    else:
        print(f"Outcome: {inversion.outcome}. {inversion.message}")
        print(f"Inversion accuracy {found.accuracy:.1%}, lowest class {min(found.accuracy_per_class):.1%}")
        print(f"Gallery: {folder.path}/figures/gallery.png")
    return 0
