"""The page of the audit of a model, its summary for the terminal, and its block for a model card."""
