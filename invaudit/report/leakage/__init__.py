"""Redraws a finished leakage run: findings, table, figures, page, audit record."""
