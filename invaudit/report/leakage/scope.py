"""What a leakage run tested: the statements that a reader of an audit asks for."""

from typing import Any

import numpy as np

from invaudit.report.leakage.run import LeakageRun
from invaudit.report.printing import span
from invaudit.report.records import names_of

DESIGNS = {
    "pairs": "A fair coin, before training, decided for each pair of images of one class which of the two the target "
    "was trained on. The test needs no other assumption; a leak is an effect of the training.",
    "observational": "Members and controls were given. The test assumes that they are exchangeable within class and "
    "stratum; this is an assumption, which the blind baseline can shake but not prove. A leak is an association.",
}
METRICS = {
    "ssim": "Structural similarity, Gaussian window, data range 1; higher is more similar.",
    "lpips-alex": "LPIPS 0.1 on AlexNet, a distance; lower is more similar.",
    "lpips-squeeze": "LPIPS 0.1 on SqueezeNet, a distance; lower is more similar.",
    "cosine": "Cosine after subtracting the mean of images outside the pool; higher is more similar.",
}
ATTACKER = (
    "White box: the attacker reads the weights and knows the input side and the classes. Reconstructions and matching "
    "use no knowledge of who is a member; attribution and membership scores also see the pool and its labels."
)
UNIT = "One image, or one pair of images under pairs. A person with many images is more exposed than one image."


def scope(run: LeakageRun) -> list[tuple[str, str]]:
    """Return what was tested, as names and texts."""
    whole = "{:.0f}".format
    found = [("attacker", ATTACKER), ("unit of privacy", UNIT)]
    found += [(f"design: {name}", DESIGNS.get(name, "not described")) for name in run.names("design")]
    counts = {name: span((row[name] for row in run.rows), whole) for name in ("n_members", "n_control")}
    found.append(
        ("pool", f"{counts['n_members'] or '?'} members, {counts['n_control'] or '?'} controls{_classes(run)}")
    )
    found.append(("methods", names_of(run.rows, "method")))
    found += [(f"metric: {name}", METRICS.get(name, "not described")) for name in run.names("metric")]
    if {"limit_blur", "limit_noise"} <= run.settings.keys():
        blur, noise = run.settings["limit_blur"], run.settings["limit_noise"]
        found.append(("scoring limit", f"Simulated with copies of members, blur {blur} px, noise {noise}."))
    candidates = span((row["n_reconstructions"] for row in run.rows), whole)
    found.append(("effort", f"{candidates or '?'} reconstructions per target and method, {_seconds(run):.0f} s in all"))
    return found


def _seconds(run: LeakageRun) -> float:
    """Return the time of all methods; the row of each metric holds that of its reconstructions, which counts once."""
    longest: dict[tuple[Any, ...], float] = {}
    for row in run.rows:
        key = row["target"], row["method"], row["seed"]
        longest[key] = max(longest.get(key, 0.0), row["seconds"] or 0.0)
    return sum(longest.values())


def _classes(run: LeakageRun) -> str:
    """Return how many images of each kind a class has, by the pool of the first target."""
    for seed in run.seeds[:1]:
        for target in run.names("target"):
            pool = run.arrays(seed, target, "pool")
            if {"labels", "member"} <= pool.keys():
                labels = np.unique(pool["labels"])
                members, controls = (
                    span([int(((pool["labels"] == label) & kind).sum()) for label in labels], str)
                    for kind in (pool["member"], ~pool["member"])
                )
                return f"; {len(labels)} classes, each with {members} members and {controls} controls (first target)"
    return ""
