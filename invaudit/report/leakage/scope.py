"""What a leakage run tested: the statements that a reader of an audit asks for."""

import numpy as np

from invaudit.records.columns import distinct
from invaudit.records.leakage import AttackControlRecord
from invaudit.records.leakage_run import LeakageRun
from invaudit.report.leakage.tables import figure
from invaudit.report.printing import span

DESIGNS = {
    "pairs": "A fair coin, before training, decided for each pair of images of one class which of the two the target "
    "was trained on. The test needs no other assumption; a leak is an effect of the training.",
    "random-split": "Members and controls were drawn at random from one pool, says who gave them. The test needs no "
    "other assumption; a leak is an effect of the training.",
    "observational": "Members and controls were given. The test assumes that they are exchangeable within class and "
    "stratum; this is an assumption, which the blind baseline can shake but not prove. A leak is an association.",
}
METRICS = {
    "ssim": "Structural similarity, Gaussian window, data range 1",
    "lpips-alex": "LPIPS 0.1 on AlexNet, a distance",
    "lpips-squeeze": "LPIPS 0.1 on SqueezeNet, a distance",
    "cosine": "Cosine after subtracting the mean of images outside the pool",
}
"""What known metrics are; any other is described by its label."""
ATTACKER = (
    "White box: the attacker reads the weights and knows the input side and the classes. Reconstructions and matching "
    "use no knowledge of who is a member; attribution and membership scores also see the pool and its labels."
)
BY_ANSWERS = (
    "Black box: the attacker has an image and its class, and the probabilities that the model answers. The scores "
    "use no knowledge of who is a member."
)
UNIT = "One image, or one pair of images under pairs. A person with many images is more exposed than one image."


def scope(run: LeakageRun) -> list[tuple[str, str]]:
    """Return what was tested, as names and texts."""
    measured = run.tests or run.membership
    members = figure(measured, "n_members") or "?"
    controls = figure(measured, "n_control") or "?"
    texts = [("attacker", BY_ANSWERS if run.by_answers else ATTACKER), ("unit of privacy", UNIT)]
    for design in distinct(row.design for row in measured):
        texts.append((f"design: {design}", DESIGNS.get(design, "not described")))
    texts.append(("pool", f"{members} members, {controls} controls{_classes(run)}"))
    if run.by_answers:
        return texts
    texts.append(("methods", ", ".join(distinct(row.method for row in run.tests))))
    if run.attack_control is not None:
        texts.append(("attack control", _origin(run.attack_control)))
    for metric in distinct(row.metric for row in run.tests):
        texts.append((f"metric: {metric}", _described(run, metric)))
    if {"limit_blur", "limit_noise"} <= run.settings.keys():
        blur, noise = run.settings["limit_blur"], run.settings["limit_noise"]
        texts.append(("scoring limit", f"Simulated with copies of members, blur {blur} px, noise {noise}."))
    reconstructions = figure(run.tests, "n_reconstructions") or "?"
    effort = f"{reconstructions} reconstructions per target and method, {_seconds(run):.0f} s in all"
    texts.append(("effort", effort))
    return texts


def _origin(control: AttackControlRecord) -> str:
    """Return by which attack, with which settings, and on which data an attack control was made."""
    if control.data is None:
        return "reconstructions that were given"
    if control.method is None:
        return f"reconstructions that were given, of a network that invaudit trained on {control.data}"
    settings = ", ".join(f"{name}={value}" for name, value in control.settings.items()) or "its defaults"
    reference = "with reference images" if control.reference else "without reference images"
    network = f" of {control.network}" if control.network else ""
    made = f"{control.method} with {settings}, {reference}{network}, on {control.data}, made by invaudit"
    return f"{made}. A control of another architecture than the audited one shows less of what the attack can do there."


def _described(run: LeakageRun, metric: str) -> str:
    """Return what a metric is and which way it is better."""
    row = run.metrics.get(metric)
    if row is None:
        return METRICS.get(metric, "not described")
    return f"{METRICS.get(metric) or row.label or metric}; {row.better} is more similar."


def _seconds(run: LeakageRun) -> float:
    """Return the time of all methods; the row of each metric holds that of its reconstructions, which counts once."""
    longest: dict[tuple[str, str | None, int | None], float] = {}
    for row in run.tests:
        key = row.target, row.method, row.seed
        longest[key] = max(longest.get(key, 0.0), row.seconds or 0.0)
    return sum(longest.values())


def _classes(run: LeakageRun) -> str:
    """Return how many images of each kind a class has, by the pool of the first target that has one."""
    for seed in run.seeds[:1]:
        for target in distinct(row.target for row in run.tests):
            pool = run.arrays(seed, target, "pool")
            if {"labels", "member"} <= pool.keys():
                n_classes = len(np.unique(pool["labels"]))
                members = _by_class(pool["labels"], pool["member"])
                controls = _by_class(pool["labels"], ~pool["member"])
                return f"; {n_classes} classes, each with {members} members and {controls} controls (first target)"
    return ""


def _by_class(labels: np.ndarray, kind: np.ndarray) -> str:
    """Return how many images of one kind the classes have, lowest and highest."""
    counts = []
    for label in np.unique(labels):
        counts.append(int((kind & (labels == label)).sum()))
    return span(counts, str)
