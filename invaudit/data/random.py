"""Torch generators by name: the one place where an integer seed becomes a stream of draws."""

import torch

from invaudit.runtime.seeds import child_seed


def seeded_rng(seed: int, stage: str, index: int = 0) -> torch.Generator:
    """Return the CPU generator of one stage.

    Args:
        seed: Seed of the run.
        stage: Name of the stage, e.g. ``"data/letters"``.
        index: Number of the repetition within the stage.

    Returns:
        A fresh generator; the same arguments always give the same draws.
    """
    return torch.Generator().manual_seed(child_seed(seed, stage, index))
