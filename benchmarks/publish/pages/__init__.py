"""The pages in ``docs/results/``: one for each recorded benchmark, and an index. Every figure is read from a record."""
