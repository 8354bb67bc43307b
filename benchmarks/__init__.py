"""Our laboratory, not part of the package: what we measured, how, and what came out.

``speed/`` times the package, ``choices/`` holds the measurements behind its defaults, ``publish/`` records runs and
writes the pages in ``docs/results/`` from ``results/``.
"""
