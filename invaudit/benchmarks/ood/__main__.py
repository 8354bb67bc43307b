"""``python -m invaudit.benchmarks.ood``."""

from invaudit.cli import main

if __name__ == "__main__":
    main("benchmark", "ood")
