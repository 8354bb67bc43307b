"""The page of a benchmark of explanations."""
