"""From a finished run to a page: record its tables, look at its worst images, render what was recorded.

Run these from the root of the repository, for example ``python -m benchmarks.publish.results_pages``.
"""
