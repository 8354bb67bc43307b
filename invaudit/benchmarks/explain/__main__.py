"""``python -m invaudit.benchmarks.explain``."""

from invaudit.cli import main

if __name__ == "__main__":
    main("benchmark", "explain")
