"""Reconstruct training images from a target, and say whether it leaks them."""
