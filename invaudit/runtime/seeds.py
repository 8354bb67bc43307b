"""Seeds by name: every stage draws from its own stream, so that adding one changes no other."""

import hashlib


def child_seed(seed: int, stage: str, index: int = 0) -> int:
    """Return the 63-bit seed of one stage.

    Args:
        seed: Seed of the run.
        stage: Name of the stage, e.g. ``"train/batches"``.
        index: Number of the repetition within the stage.

    Returns:
        An integer in [0, 2**63), the same on every machine.

    Example:
        >>> child_seed(0, "train")
        1801444143386010281
    """
    digest = hashlib.sha256(f"{seed}\x00{stage}\x00{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
