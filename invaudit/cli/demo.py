"""``invaudit demo``: a planted leak is found and a clean network left alone, before anyone's eyes."""

from pathlib import Path
from typing import TYPE_CHECKING

from invaudit.cli.options import Common, print_json, verdict_report

if TYPE_CHECKING:
    from invaudit.audit.demo import Demo
    from invaudit.stats import OverallVerdict


def demo(*, common: Common = Common()) -> int:  # noqa: B008
    """Train a network that leaks and one that cannot, audit both, and guard one: about a minute, nothing is fetched.

    It fails if the planted leak is not found, or if the other network is called a leak.
    """
    common.start("config", "seeds", "device", "precision", "workers", resumes=True)
    from invaudit.audit.demo import run_demo

    made = run_demo(common.out or Path("runs") / "demo")
    if common.json:
        print_json(_report(made))
        return 0
    print(f"A network that was trained on 40 images: {_words(made.leaky.membership, made.leaky.reconstruction)}")
    print(f"One that was trained on other images:    {_words(made.clean.membership, made.clean.reconstruction)}")
    print(f"Guarded, that one rejects {made.rejected:.0%} of noise, at 5 % false alarms.")
    print(f"The planted leak was found, and nothing where there is nothing. See {made.leaky.folder}/report.html")
    return 0


def _words(membership: "OverallVerdict | None", reconstruction: "OverallVerdict | None") -> str:
    parts = []
    for question, verdict in (("membership", membership), ("reconstruction", reconstruction)):
        word = "not tested" if verdict is None else verdict.verdict
        reasons = f" ({', '.join(verdict.reasons)})" if verdict and verdict.reasons else ""
        parts.append(f"{question} {word}{reasons}")
    return "; ".join(parts)


def _report(made: "Demo") -> dict[str, object]:
    audits = {}
    for name, result in (("leaky", made.leaky), ("clean", made.clean)):
        audits[name] = {
            "folder": str(result.folder),
            "membership": verdict_report(result.membership),
            "reconstruction": verdict_report(result.reconstruction),
        }
    return {"folder": str(made.folder), "rejected": made.rejected, **audits}
