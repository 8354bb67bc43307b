"""How often the leakage verdict is wrong where nothing leaks, and how much leakage it finds.

    INVAUDIT_DATA=... python benchmarks/choices/verdict_calibration.py [--part NAME ...] [--json]

No target is trained: reconstructions are unrelated images, or copies of members among them, so that the truth is known.
Image pools are MNIST and CIFAR-10 where INVAUDIT_DATA holds them, else scikit-learn's digits. Each finished part is
recorded, so that a run that was stopped continues where it was.
"""

import argparse
import csv
import io
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import binom

from invaudit.data import ImageSet, load
from invaudit.models import limit_threads
from invaudit.runtime import child_seed, describe_environment, read_json, write_json, write_text
from invaudit.runtime.errors import InputError, RunFolderError
from invaudit.similarity import make_metric, nearest, pairwise
from invaudit.stats import (
    BlindBaseline,
    Observational,
    Pairs,
    VerdictTest,
    blind_test,
    decide,
    nearest_lists,
    scoring_limit,
    strata,
    verdict_test,
)

Images = NDArray[np.float32]
Lists = tuple[NDArray[np.int64], NDArray[np.float64]]
Row = dict[str, Any]

N = 200  # pairs, and reconstructions
LIST = 64
LONG_LIST = 500  # near a pure stratum the nearest images may all be members that cannot change labels
MOST_MADE = 500
SETTINGS: dict[str, dict[str, Any]] = {
    "null": {"runs": 2000, "pools": 20, "modes": 5, "blur": 1.0, "noise": 0.05, "draws": 999},
    "power": {"runs": 200, "pools": 20, "copies": 10, "blur": 0.8, "noise": 0.10, "draws": 9999},
    "scoring-limit": {
        "runs": 1000,
        "pools": 10,
        "pairs": 40,
        "reconstructions": 80,
        "families": [1, 6],
        "blur": 0.8,
        "noise": 0.10,
        "draws": 9999,
    },
    "member-mean": {"runs": 100, "pools": 10, "reconstructions": 100, "noise": 0.02, "draws": 9999},
}


def pool_settings(shape: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of pools of so many classes with so many members and controls each."""
    classes, members, controls = map(int, re.split("[x+]", shape))
    common = {"runs": 1000, "shifts": [0.0, 0.3, 0.6], "dimensions": 32, "shifted": 4, "draws": 199}
    return {"classes": classes, "members": members, "controls": controls, **common, **changes}


POOLS = {
    **{
        f"pool-{shape}": pool_settings(shape)
        for shape in ("100x1+1", "100x2+2", "10x5+5", "10x20+20", "2x100+100", "1x200+200")
    },
    **{f"pool-{shape}": pool_settings(shape, shifts=[0.0]) for shape in ("10x4+20", "10x20+4", "1x20+100")},
    "pool-10x200+200": pool_settings("10x200+200", shifts=[0.06, 0.1], runs=300),
}
SETTINGS |= POOLS


def sets() -> list[str]:
    """Return the names of the image sets to use."""
    return ["mnist", "cifar10"] if os.environ.get("INVAUDIT_DATA") else ["digits"]


@cache
def source(name: str) -> tuple[ImageSet, ImageSet]:
    """Return the images that pools are drawn from, and those of unrelated reconstructions."""
    if name == "digits":
        return load("digits@0:1200"), load("digits@1200:1797")
    return load(f"{name}:train@0:16000"), load(f"{name}:test")


def drawn(images: ImageSet, index: NDArray[np.int64]) -> Images:
    """Return some images as an array."""
    return images.floats(torch.from_numpy(index)).numpy()


def new_pool(name: str, n_pairs: int, rng: np.random.Generator) -> tuple[Images, NDArray[np.int64]]:
    """Draw same-class pairs, equally many per class: (2 n_pairs, C, H, W) images and the pair of each."""
    images = source(name)[0]
    labels = images.labels.numpy()
    classes = [rng.choice(np.flatnonzero(labels == label), n_pairs // 5, replace=False) for label in range(10)]
    return drawn(images, np.concatenate(classes)), np.repeat(np.arange(n_pairs), 2)


def coins(pair: NDArray[np.int64], rng: np.random.Generator) -> Pairs:
    """Toss the coin of every pair."""
    return Pairs(Pairs(np.arange(len(pair)) % 2 == 0, pair).relabel(rng), pair)


def degraded(images: Images, how: dict[str, Any], rng: np.random.Generator) -> Images:
    """Return blurred images with Gaussian noise."""
    soft = gaussian_filter(images, (0, 0, how["blur"], how["blur"]))
    return np.clip(soft + how["noise"] * rng.standard_normal(images.shape), 0, 1).astype(np.float32)


def unrelated(kind: str, name: str, n: int, rng: np.random.Generator) -> Images:
    """Return test images as they are, blurred, or few blurred ones many times over."""
    images = source(name)[1]
    how = SETTINGS["null"]
    made = drawn(images, rng.choice(len(images), n, replace=False))
    if kind != "diverse":
        made = degraded(made, how, rng)
    return made[rng.integers(how["modes"], size=n)] if kind == "collapsed" else made


def search(made: Images, pool: Images) -> Lists:
    """Return the lists of nearest pool images by SSIM."""
    found = nearest(torch.from_numpy(made), torch.from_numpy(pool), make_metric("ssim"), min(LIST, len(pool)))
    return found.index.numpy(), found.value.numpy()


def line(case: str, quantity: str, count: int, runs: int, *, most: int | None = None, least: int | None = None) -> Row:
    """Return one line of the record: a count among runs and, where one is promised, its limit and whether it holds."""
    goal: tuple[str, bool | None] = ("", None)
    if most is not None:
        goal = f"<= {most}", count <= most
    elif least is not None:
        goal = f">= {least}", count >= least
    return {"case": case, "quantity": quantity, "count": count, "runs": runs, "goal": goal[0], "holds": goal[1]}


def null(runs: int, pools: int, draws: int, **_: Any) -> Iterator[Row]:
    """Random splits, and reconstructions that know nothing of them."""
    for name in sets():
        for kind in ("diverse", "blurred", "collapsed"):
            p, counting = [], 0
            for number in range(pools):
                rng = np.random.default_rng(child_seed(0, f"null/{name}/{kind}", number))
                pool, pair = new_pool(name, N, rng)
                lists = search(unrelated(kind, name, N, rng), pool)
                for _ in range(runs // pools):
                    test = verdict_test(*lists, coins(pair, rng), rng, draws=draws)
                    p.append(test.p_value)
                    counting += counts_as_finding(test)
            for level in (0.05, 0.01):
                rejected = int(np.sum(np.array(p) <= level))
                most = int(binom.ppf(0.999, runs, level))
                yield line(f"{name}, {kind}", f"rejected at {level}", rejected, runs, most=most)
            yield line(f"{name}, {kind}", "rejected at 0.05 by counting reconstructions", counting, runs)


def counts_as_finding(test: VerdictTest) -> bool:
    """Return what a binomial test over reconstructions says at 5 %: the thing not to do."""
    wins = int((test.similarity_member > test.similarity_control).sum())
    return bool(binom.sf(wins - 1, test.n_reconstructions, 0.5) <= 0.05)


def shifted_pools(
    classes: int,
    members: int,
    controls: int,
    runs: int,
    shifts: list[float],
    dimensions: int,
    shifted: int,
    draws: int,
) -> Iterator[Row]:
    """Members that differ from controls by themselves, or do not, reconstructions that share it, and no leak."""
    label = np.repeat(np.arange(classes), members + controls)
    member = np.tile(np.arange(members + controls) < members, classes)
    most = int(binom.ppf(0.999, runs, 0.01))
    for size in shifts:
        offset = np.where(np.arange(dimensions) < shifted, size, 0.0)
        found: Counter[str] = Counter()
        total = 0.0
        for number in range(runs):
            rng = np.random.default_rng(child_seed(0, f"shift/{size}", number))
            centre = rng.standard_normal((classes, dimensions))
            pool = rng.standard_normal((len(member), dimensions)) + centre[label] + member[:, None] * offset
            of_class = centre[np.resize(np.arange(classes), min(len(member) // 2, MOST_MADE))]
            made = rng.standard_normal(of_class.shape) + of_class + offset
            blind = blind_test(pool, Observational(member, label), rng, draws=draws)
            design = Observational(member, strata(Observational(member, label), blind.score))
            total += blind.auroc or 0.0
            found[blind.finding] += 1
            test = verdict_test(*nearest_lists(-distances(made, pool), LONG_LIST), design, rng, draws=draws)
            found["rejected"] += test.p_value <= 0.01
            found["leak"] += calls_leak(test, blind)
            if size == 0:
                copies = pool[member] + 0.1 * rng.standard_normal((member.sum(), dimensions))
                test = verdict_test(*nearest_lists(-distances(copies, pool), LONG_LIST), design, rng, draws=draws)
                found["known leak"] += calls_leak(test, blind)
        case = f"{classes} classes, {members} and {controls}, {size} sd"
        mean = round(1000 * total / runs)
        goal = {"goal": "490 to 510", "holds": 490 <= mean <= 510} if size == 0 else {}
        yield line(case, "mean blind AUROC in thousandths", mean, 1000) | goal
        yield line(case, "inconclusive (shift)", found["shift"], runs, most=most if size == 0 else None)
        yield line(case, "rejected at 0.01, if the blind baseline is not looked at", found["rejected"], runs)
        yield line(case, "leak", found["leak"], runs, most=most)
        if size == 0:
            yield line(case, "leak, where all members are reconstructed", found["known leak"], runs, least=runs - most)


def calls_leak(test: VerdictTest, blind: BlindBaseline) -> bool:
    """Return whether the rule calls a test a leak."""
    found = decide(
        test.p_value,
        test.attainable_p,
        design="observational",
        blind=blind.finding,
        attack_control_called=True,
    )
    return found.verdict == "leak"


def distances(made: NDArray[np.float64], pool: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (R, N) Euclidean distances."""
    squares = (made**2).sum(1)[:, None] + (pool**2).sum(1) - 2 * made @ pool.T
    return np.sqrt(np.maximum(squares, 0))


def power(runs: int, pools: int, copies: int, draws: int, **how: Any) -> Iterator[Row]:
    """Copies of few members among unrelated reconstructions."""
    for name in sets():
        p = []
        for number in range(pools):
            rng = np.random.default_rng(child_seed(0, f"power/{name}", number))
            pool, pair = new_pool(name, N, rng)
            index, values = search(unrelated("blurred", name, N, rng), pool)
            for _ in range(runs // pools):
                design = coins(pair, rng)
                planted = rng.choice(np.flatnonzero(design.member), copies, replace=False)
                replaced = rng.choice(N, copies, replace=False)
                lists = index.copy(), values.copy()
                lists[0][replaced], lists[1][replaced] = search(degraded(pool[planted], how, rng), pool)
                p.append(verdict_test(*lists, design, rng, draws=draws).p_value)
        found = [int(np.sum(np.array(p) <= level)) for level in (0.05, 0.01)]
        least = round(0.9 * runs) if name == "cifar10" else None
        yield line(f"{name}, {copies} copies", "found at 0.05", found[0], runs, least=least)
        yield line(f"{name}, {copies} copies", "found at 0.01", found[1], runs)


def limits(
    runs: int, pools: int, pairs: int, reconstructions: int, families: list[int], draws: int, **how: Any
) -> Iterator[Row]:
    """Audits with as many copies as the scoring limit asks for."""
    metric = make_metric("ssim")
    for name in sets():
        for family in families:
            called, audits, numbers = 0, 0, []
            for number in range(pools):
                rng = np.random.default_rng(child_seed(0, f"limit/{name}", number))
                pool, pair = new_pool(name, pairs, rng)
                made = [unrelated("blurred", name, reconstructions, rng), degraded(pool, how, rng)]
                gallery = torch.from_numpy(pool)
                other, copies = (pairwise(torch.from_numpy(part), gallery, metric).numpy() for part in made)
                limit = scoring_limit(other, copies, coins(pair, rng), rng, family=family)
                numbers.append(limit.members)
                if limit.members is None:
                    continue
                for _ in range(runs // pools):
                    design = coins(pair, rng)
                    planted = rng.choice(np.flatnonzero(design.member), limit.members, replace=False)
                    rows = np.concatenate([other[rng.permutation(len(other))[len(planted) :]], copies[planted]])
                    test = verdict_test(*nearest_lists(rows), design, rng, draws=draws)
                    adjusted = min(1.0, test.p_value * family)
                    called += decide(adjusted, test.attainable_p, design="pairs", family=family).verdict == "leak"
                    audits += 1
            case = f"{name}, family of {family}, limits {' '.join(map(str, numbers))}"
            yield line(case, "leak", called, audits, least=round(0.93 * audits) if audits else None)


def member_mean(runs: int, pools: int, reconstructions: int, noise: float, draws: int) -> Iterator[Row]:
    """Reconstructions that are nothing but the mean of the members, with noise."""
    for name in sets():
        found: Counter[str] = Counter()
        rejected = 0
        for number in range(runs):
            rng = np.random.default_rng(child_seed(0, f"member-mean/{name}", number))
            pool, pair = new_pool(name, N, np.random.default_rng(child_seed(0, f"pool/{name}", number % pools)))
            design = coins(pair, rng)
            mean = np.repeat(pool[design.member].mean(axis=0, keepdims=True), reconstructions, axis=0)
            test = verdict_test(
                *search(degraded(mean, {"blur": 0, "noise": noise}, rng), pool), design, rng, draws=draws
            )
            rejected += test.p_value <= 0.01
            verdict = decide(test.p_value, test.attainable_p, design="pairs", attack_control_called=True)
            found[verdict.reason or verdict.verdict] += 1
        yield line(name, "rejected at 0.01 without looking at distinct hits", int(rejected), runs)
        yield line(name, "leak", found["leak"], runs, most=0)
        yield line(name, "inconclusive (underpowered)", found["underpowered"], runs)


PARTS: dict[str, Callable[..., Iterator[Row]]] = {
    "null": null,
    **dict.fromkeys(POOLS, shifted_pools),
    "power": power,
    "scoring-limit": limits,
    "member-mean": member_mean,
}


def table(rows: list[Row]) -> str:
    """Return the rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def run(parts: list[str], out: Path) -> list[Row]:
    """Measure the parts that are not recorded yet; return all rows."""
    record: dict[str, Any] = read_json(out) if out.is_file() else {"parts": {}}
    for part in parts:
        settings = {**SETTINGS[part], "sets": sets()}
        known = record["parts"].get(part)
        if known and known["settings"] != settings:
            raise RunFolderError(f"{out} has {part} with other settings; remove it or choose another --out")
        if known:
            continue
        start, rows = time.perf_counter(), []
        for found in PARTS[part](**SETTINGS[part]):
            rows.append({"part": part, **found})
            print(*rows[-1].values(), sep=", ", file=sys.stderr)
        seconds = round(time.perf_counter() - start)
        record["parts"][part] = {"settings": settings, "rows": rows, "seconds": seconds}
        record["environment"] = describe_environment(threads=torch.get_num_threads())
        write_json(out, record)
        write_text(out.with_suffix(".csv"), table(all_rows(record)))
    return all_rows(record)


def all_rows(record: dict[str, Any]) -> list[Row]:
    """Return the rows of all recorded parts, in the order of ``PARTS``."""
    return [row for part in PARTS for row in record["parts"].get(part, {"rows": []})["rows"]]


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "verdict_calibration.json")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    chosen = parser.parse_args()
    try:
        with limit_threads(chosen.threads):
            rows = run(chosen.part, chosen.out)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps({"rows": rows}, sort_keys=True) if chosen.json else table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
