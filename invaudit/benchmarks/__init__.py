"""Whole runs that users start: ``python -m invaudit.benchmarks.ood``.

Each benchmark is a package of its own: settings, sets, jobs, tables, controls, and the run that ties them together.
``comparing`` sets two finished runs side by side.
"""
