"""The page of a leakage benchmark: what it says, the targets, verdicts, membership scores, controls."""
