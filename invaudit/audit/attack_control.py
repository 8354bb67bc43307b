"""The attack control of foreign reconstructions: the same attack on a network that is known to leak.

Finding nothing says something only of an attack that does find the leak of such a network.
"""

import csv
import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from torch import Tensor

from invaudit.audit.metrics import MetricSet, make_metrics
from invaudit.audit.pools import coin_pool, load_labelled
from invaudit.audit.settings import AuditSettings, method_problems
from invaudit.data import ImageSet, load, seeded_rng
from invaudit.data.image_set import eight_bits
from invaudit.leakage import (
    METHODS,
    RECIPES,
    Pool,
    Reconstructions,
    TargetRecipe,
    make_pool,
    read_pairs,
    reconstruct,
    train_target,
)
from invaudit.leakage.pool import stratified
from invaudit.models import Target, limit_threads, resolve_device, save_target
from invaudit.records import AttackControlRecord
from invaudit.records.names import ATTACK_CONTROL, ATTACK_CONTROL_COMMAND, CONFIG, RUN_RECORD
from invaudit.runtime.console import notice
from invaudit.runtime.describing import Known
from invaudit.runtime.errors import MissingDataError, ModelError, RunFolderError, ShapeError
from invaudit.runtime.files import content_hash, npz_bytes, read_object, write_bytes, write_text
from invaudit.runtime.paths import is_file, read_bytes
from invaudit.runtime.runs import RunFolder, RunKind
from invaudit.runtime.seeds import child_seed
from invaudit.runtime.settings import Device, OneSeed, Settings, load_config
from invaudit.stats import BlindBaseline

RECONSTRUCTIONS, MEMBERS, CONTROLS = "reconstructions.npz", "members.npz", "controls.npz"
REFERENCE, PAIRS, TARGET = "reference.npz", "pairs.csv", "target.safetensors"
CONTROL_FOLDER = RunKind(ATTACK_CONTROL, schema=1, readable=(1,))


class AttackControlSettings(Settings):
    """A network that is known to leak, and the attack on it."""

    method: Annotated[str | None, Known(METHODS)] = None
    """Reconstruction method; unset: the network is attacked by other means."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the method, the same as on the audited network."""
    reference: bool = False
    """Whether the method is given reference images, as on the audited network; they help most methods."""
    data: str = "digits"
    """DATA with labels, from which members and controls are drawn."""
    recipe: TargetRecipe = RECIPES["mlp-decay"]
    """How the network is trained; the default memorises its members."""
    members: int = Field(default=40, ge=7, le=1_000_000)
    """Members, and as many controls. With under 7 pairs no test can reach 1 %."""
    seeds: OneSeed = (0,)
    device: Device = "auto"

    def problems(self) -> Iterator[str]:
        """Yield settings that the method does not have, or that are for none."""
        if self.method is not None:
            yield from method_problems(self.method, self.settings)
        elif self.settings or self.reference:
            yield (
                f"settings are {self.settings} and reference is {self.reference} without a method, expected the method "
                "that they are for; name it (--method), or leave them out"
            )


@dataclass(frozen=True)
class AttackControlResult:
    """What was made of an attack control.

    Attributes:
        folder: The folder, for ``ScoreSettings.attack_control``.
        target: The network that is known to leak, for other attacks.
        reconstructions: What the method gave; None where none was named.
        arch: Architecture of the network.
    """

    folder: Path
    target: Path
    reconstructions: Reconstructions | None
    arch: str

    @property
    def count(self) -> int:
        """Number of reconstructions in the folder."""
        return 0 if self.reconstructions is None else len(self.reconstructions)

    @property
    def advice(self) -> str:
        """What to do with the folder."""
        if self.reconstructions is None:
            return (
                f"Attack {self.target} as you attack the audited network, save all images that the attack gives as "
                f"{self.folder / RECONSTRUCTIONS}, and give the folder to `invaudit leakage score` as --attack-control."
            )
        made = f"{self.reconstructions.outcome}: {self.reconstructions.message}"
        return (
            f"{self.count} reconstructions ({made}) of a network {self.arch}. It tells most about a model of its "
            "own kind: --set recipe.arch=NAME takes another. Give "
            f"`invaudit leakage score` --attack-control {self.folder}"
        )


def make_attack_control(settings: AttackControlSettings, out: Path, *, resume: bool = False) -> AttackControlResult:
    """Train a network that is known to leak, attack it, and write what ``score`` takes as an attack control.

    For another attack than ours, give no method: run the attack on ``target.safetensors`` as on the audited network,
    and save all images that it gives as ``reconstructions.npz`` in the folder.

    Args:
        settings: The network and the attack.
        out: The folder: ``target.safetensors``, ``members.npz``, ``controls.npz``, ``pairs.csv``, ``reference.npz``
            and, where a method is named, ``reconstructions.npz``.
        resume: Go on in a folder where this was begun, with the search where it was stopped.

    Raises:
        InputError: Bad settings or missing data, a network that does not fit its members, or an attack that gives
            nothing; nothing is written then.
    """
    data, seed = load_labelled(settings.data), settings.seeds[0]
    pool, _ = coin_pool(data, settings.members, seeded_rng(seed, ATTACK_CONTROL))
    run = RunFolder.open(out, settings, resume=resume, inputs=(data.hash,), kind=CONTROL_FOLDER)
    with limit_threads(1), run as folder:
        notice("training a network that is known to leak")
        target = train_known_leak(settings.recipe, pool, seed=seed, device=settings.device)
        reconstructions = None
        if settings.method is not None:
            notice(f"attacking it by {settings.method}")
            reconstructions = _attack(settings, settings.method, target, pool, folder.path / "work")
        _write(folder.path, pool, target, reconstructions)
    return AttackControlResult(folder.path, folder.path / TARGET, reconstructions, settings.recipe.arch)


def train_known_leak(recipe: TargetRecipe, pool: Pool, *, seed: int, device: str) -> Target:
    """Train the network on the members of the pool.

    Raises:
        ModelError: It does not fit its members.
    """
    member, rng = pool.member, seeded_rng(seed, f"target/{ATTACK_CONTROL}")
    members, labels = pool.floats[member], pool.labels[member]
    return train_target(recipe, members, labels, pool.classes, rng, device=resolve_device(device))


def _attack(settings: AttackControlSettings, method: str, target: Target, pool: Pool, work: Path) -> Reconstructions:
    """Attack the network; ``work`` holds the state of a search that was stopped, and is gone after it."""
    rng = seeded_rng(settings.seeds[0], f"method/{ATTACK_CONTROL}/{method}")
    reference = pool.reference if settings.reference else None
    checkpoint = work / "search.pt"
    reconstructions = reconstruct(target, method, settings.settings, rng, reference=reference, checkpoint=checkpoint)
    shutil.rmtree(work, ignore_errors=True)
    if not len(reconstructions):
        raise ModelError(f"{method} gave no images ({reconstructions.message}); change its settings")
    return reconstructions


def _write(folder: Path, pool: Pool, target: Target, reconstructions: Reconstructions | None) -> None:
    images, labels, member = pool.images.images, pool.labels, pool.member
    _write_images(folder / MEMBERS, images[member], labels[member])
    _write_images(folder / CONTROLS, images[~member], labels[~member])
    # Pairs follow each other in the pool, so that members and controls by themselves are in the order of the pairs.
    pairs = io.StringIO()
    writer = csv.writer(pairs, lineterminator="\n")
    writer.writerow(("member", "control"))
    writer.writerows((pair, pair) for pair in range(pool.n_members))
    write_text(folder / PAIRS, pairs.getvalue())
    if pool.reference is not None:
        _write_images(folder / REFERENCE, eight_bits(pool.reference))
    save_target(target, folder / TARGET)
    if reconstructions is not None:
        _write_images(folder / RECONSTRUCTIONS, eight_bits(reconstructions.images), reconstructions.labels)


def _write_images(path: Path, images: Tensor, labels: Tensor | None = None) -> None:
    arrays = {"images": images.cpu().numpy()}
    if labels is not None:
        arrays["labels"] = labels.numpy()
    write_bytes(path, npz_bytes(arrays))


@dataclass(frozen=True, eq=False)
class AttackControl:
    """Reconstructions of a network that is known to leak, with its pool.

    Attributes:
        reconstructions: All images that the attack gave.
        pool: The part of its members and controls that the test is made on.
        blind: The blind baseline on it.
        metrics: The declared metrics, with the control's own reference images.
        origin: By which attack and on which data it was made, as far as the folder says.
        hashes: Content hash of each image set by name.
        pairs_hash: Content hash of the file of pairs; empty where there is none.
    """

    reconstructions: ImageSet
    pool: Pool
    blind: BlindBaseline
    metrics: MetricSet
    origin: AttackControlRecord
    hashes: dict[str, str]
    pairs_hash: str


def read_attack_control(
    folder: Path, settings: AuditSettings, *, audited_shape: tuple[int, ...], seed: int, most: int
) -> AttackControl:
    """Read the folder of an attack control.

    Args:
        folder: With ``reconstructions.npz``, ``members.npz`` and ``controls.npz``; with ``pairs.csv`` the design is
            ``pairs``. The cosine needs ``reference.npz``.
        settings: What the audit measures.
        audited_shape: (C, H, W) of the audited members, which the control has to have too.
        seed: Seed of the audit.
        most: Largest number of members, and of controls, that are tested under ``observational``.

    Raises:
        InputError: A file that is missing or does not fit.
    """
    reconstructions, members, controls = _read(folder, RECONSTRUCTIONS), _read(folder, MEMBERS), _read(folder, CONTROLS)
    shape, expected = tuple(reconstructions.images.shape[1:]), tuple(members.images.shape[1:])
    if expected != audited_shape:
        raise ShapeError(
            f"the attack control {folder} has images of shape {expected}, expected {audited_shape} as the audited "
            "members; make one on images of that shape (--data)"
        )
    if shape != expected:
        raise ShapeError(
            f"the attack control {folder} has reconstructions of shape {shape}, members {expected}; bring them "
            "to the members' size"
        )
    hashes = {"reconstructions": reconstructions.hash, "members": members.hash, "controls": controls.hash}
    reference, pairs, pairs_hash = None, None, ""
    if is_file(folder / REFERENCE, RunFolderError):
        reference_images = load(str(folder / REFERENCE))
        reference, hashes["reference"] = reference_images.floats(), reference_images.hash
    if is_file(folder / PAIRS, RunFolderError):
        # No look at the age of the file: the network was trained to leak, and a copied folder loses its times.
        pairs = read_pairs(folder / PAIRS)
        pairs_hash = content_hash(read_bytes(folder / PAIRS, RunFolderError))
    pool = make_pool(members, controls, pairs=pairs, reference=reference, drop_duplicates=True)
    tested, blind = stratified(pool, np.random.default_rng(child_seed(seed, f"{ATTACK_CONTROL}/strata")), most=most)
    device = resolve_device(settings.device)
    metrics = make_metrics(settings.metrics, reference, device, download=settings.download)
    for metric in metrics.ready.values():
        metric.embed(reconstructions.floats(slice(1)))  # images too small for it are refused
    return AttackControl(reconstructions, tested, blind, metrics, _origin(folder), hashes, pairs_hash)


def _origin(folder: Path) -> AttackControlRecord:
    """Return how the control was made; where ``make_attack_control`` did not make the folder, nothing is known."""
    run, config = folder / RUN_RECORD, folder / CONFIG
    if not (is_file(run, RunFolderError) and is_file(config, RunFolderError)):
        return AttackControlRecord()
    if read_object(run).get("kind") != CONTROL_FOLDER.name:
        return AttackControlRecord()
    settings = load_config(AttackControlSettings, str(config))
    return AttackControlRecord(
        method=settings.method,
        settings=settings.settings,
        reference=settings.reference,
        data=settings.data,
        network=f"{settings.recipe.arch} with {settings.members} members",
    )


def _read(folder: Path, name: str) -> ImageSet:
    if not is_file(folder / name, RunFolderError):
        raise MissingDataError(f"the attack control {folder} holds no {name}; make one with `{ATTACK_CONTROL_COMMAND}`")
    return load(str(folder / name))
