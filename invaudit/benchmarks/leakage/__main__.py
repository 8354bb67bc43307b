"""``python -m invaudit.benchmarks.leakage``."""

from invaudit.cli import main

if __name__ == "__main__":
    main("benchmark", "leakage")
