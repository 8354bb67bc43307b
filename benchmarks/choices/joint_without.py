"""What `joint` would have scored without some parts, or with equal weights, from the stored scores of a finished run.

A part's scores are ranked among those of the ID test images, since the held-out images that scale `joint` are not
stored: the row with the recorded weights and without any part left out differs from the recorded one by that alone.
This explains a result; nothing may be chosen by it.

    python benchmarks/choices/joint_without.py RUN [--without PART [PART ...]] [--without ...] [--out FILE.json]
"""

import argparse
import json
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from invaudit.benchmarks.ood import OODBenchmark
from invaudit.benchmarks.ood.settings import ID_TEST
from invaudit.benchmarks.ood.stored import StoredJob, read_jobs
from invaudit.ood import PARTS
from invaudit.ood.joint import Scale
from invaudit.runtime import describe_environment, load_config, write_json
from invaudit.stats import auroc


def joined(job: StoredJob, parts: list[str], ood_set: str, *, equal: bool = False) -> np.ndarray:
    """Return the sum of the scaled scores (N,) of some parts, weighed as recorded or all alike."""

    def scaled(part: str) -> torch.Tensor:
        reference = torch.from_numpy(job.arrays[f"joint/{part}::{ID_TEST}"]).sort().values
        weight = 1 if equal else job.record.weights[part]
        return weight * Scale(reference)(torch.from_numpy(job.arrays[f"joint/{part}::{ood_set}"]))

    return torch.stack([scaled(part) for part in parts]).sum(0).numpy()


def main() -> int:
    """Print and perhaps write the AUROC on every OOD set, by network and parts left out, means over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--without", action="append", nargs="+", choices=tuple(PARTS), default=[], metavar="PART")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    jobs = read_jobs(options.run, load_config(OODBenchmark, str(options.run / "config.yaml")))
    rows = []
    for network in dict.fromkeys(job.network for job in jobs if job.record.weights):
        seeds = [job for job in jobs if job.network == network]
        for equal, without in product((False, True), [[], *options.without]):
            parts = [part for part in seeds[0].record.weights if part not in without]
            inside = [joined(job, parts, ID_TEST, equal=equal) for job in seeds]
            aurocs = {}
            for ood_set in seeds[0].record.sets.groups:
                outside = [joined(job, parts, ood_set, equal=equal) for job in seeds]
                aurocs[ood_set] = round(mean(map(auroc, inside, outside)), 5)
            rows.append({"network": network, "without": without, "equal": equal, "auroc": aurocs})
            print(network, "equal" if equal else "weighed", "without", *(without or ["nothing"]), json.dumps(aurocs))
    if options.out:
        write_json(options.out, {"environment": describe_environment(), "rows": rows})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
