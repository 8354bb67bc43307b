"""An OOD run made once more from its scores: calibration, tables, controls, figures, page."""

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from invaudit.benchmarks.ood import OODBenchmark
from invaudit.benchmarks.ood.job import calibration_record
from invaudit.benchmarks.ood.runner import write_tables
from invaudit.benchmarks.ood.sets import halves, load_sets
from invaudit.data import seeded_rng
from invaudit.records import OodJobRecord, SetsRecord
from invaudit.records.folder import read_record
from invaudit.records.names import CONFIG, HALF, LABELS, PIXELS, job_name, scores_file
from invaudit.report import ood_page
from invaudit.runtime.errors import InputError, MissingDataError
from invaudit.runtime.files import read_arrays, write_json
from invaudit.runtime.settings import load_config
from invaudit.verify.findings import Difference, Findings
from invaudit.verify.origin import check_at_hand, check_identity, check_scores
from invaudit.verify.rebuilding import rebuilt

UNCHECKED = (
    "what training took, weights of the parts of joint, how inversions ended, times: the run has measured them once",
    "pictures of inversions and attacks, and which images of an attack fool a network: that needs the networks",
)


def check_ood_run(findings: Findings) -> None:
    """Check the folder of an OOD benchmark."""
    settings = load_config(OODBenchmark, str(findings.folder / CONFIG))
    with findings.noted("records"):
        _check_sets(findings, settings)
        check_scores(findings)
    with rebuilt(findings) as copy:
        for seed, network in product(settings.seeds, (PIXELS, *settings.networks)):
            _rebuild_job(findings, copy, seed, network)
        write_tables(copy, settings)
        ood_page(copy)
    findings.unchecked += UNCHECKED


def _rebuild_job(findings: Findings, copy: Path, seed: int, network: str) -> None:
    """Write the record of a job with the calibration that its scores give, and check its halves of the ID images."""
    file, name = scores_file(seed, network), job_name(seed, network)
    arrays, record = read_arrays(copy / file), read_record(copy, name, OodJobRecord)
    n_test = record.sets.splits["test"].count
    if not np.array_equal(arrays.get(HALF, ()), halves(n_test, seed).numpy()):
        words = f"the halves of the {n_test} ID images are not those of seed {seed}"
        findings.differences.append(Difference(file, HALF, words=words))
    if LABELS not in arrays or record.calibration is None:
        return
    calibration = calibration_record(arrays, seeded_rng(seed, "calibration/halves"))
    made = record.model_copy(update={"calibration": calibration})
    write_json(copy / "records" / f"{name}.json", made.model_dump(mode="json", exclude_none=True))


def _check_sets(findings: Findings, settings: OODBenchmark) -> None:
    """Check the hashes of the image sets against the inputs of the run, and against the data at hand."""
    records = {}
    for seed in settings.seeds:
        records[seed] = read_record(findings.folder, job_name(seed, PIXELS), OodJobRecord).sets
    first = f"records/{job_name(settings.seeds[0], PIXELS)}.json"
    of_first = _hashes(records[settings.seeds[0]])
    check_identity(findings, {f"{first}, sets.{name}": value for name, value in of_first.items()})
    for seed, record in records.items():
        try:
            now = _hashes(load_sets(settings, seed).record())
        except MissingDataError as error:
            findings.unchecked.append(f"hashes of image sets: {error}")
            return
        except InputError as error:
            findings.unchecked.append(f"hashes of image sets: the data at hand cannot be prepared: {error}")
            return
        file = f"records/{job_name(seed, PIXELS)}.json"
        at_hand = {name: partial(str, value) for name, value in now.items()}
        check_at_hand(findings, file, _hashes(record), at_hand)


def _hashes(sets: SetsRecord) -> dict[str, str]:
    hashes = {f"splits.{name}": images.hash for name, images in sets.splits.items()}
    return hashes | {f"ood.{name}": images.hash for name, images in sets.ood.items()}
