"""What a number depends on beside its seed: versions, hardware, threads, command, git state."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "invaudit", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "pytorch-ood", "lpips",
    "matplotlib",
)  # fmt: skip
SOURCES = ("invaudit", "configs", ":(glob)benchmarks/**/*.py", "pyproject.toml")
"""What a number depends on, of the files of a checkout."""


def describe_environment(**extra: Any) -> dict[str, Any]:
    """Return date, versions, hardware, command and git state as plain values, with ``extra`` beside them."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": package_versions(),
        "hardware": {"processor": _processor(), "machine": platform.machine(), "cores": os.cpu_count()},
        "system": platform.platform(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git": git_state(Path(__file__).resolve().parents[2]),
        **extra,
    }


def package_versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that numbers depend on; None: not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        versions[name] = _version(name)
    return versions


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def git_state(root: Path) -> dict[str, Any] | None:
    """Return the commit of a checkout and whether its sources differ from it; None outside of one."""
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        return subprocess.run(  # noqa: S603
            ["git", "-C", str(root), *words],  # noqa: S607
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--", *SOURCES))}
    except (OSError, subprocess.CalledProcessError):
        return None
