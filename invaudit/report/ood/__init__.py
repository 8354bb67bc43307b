"""Redraws a finished OOD run: short table, figures, findings, page."""
