"""Audit an image classifier: OOD detection and training-data leakage by network inversion."""

__version__ = "0.1.0"
