"""Random numbers that depend on what they are for, not on when they are drawn.

`derive_seed(seed, "order", epoch)` gives the same number in every process, so any worker can draw
any clip's randomness without a shared generator.
"""

import hashlib
import random

import numpy as np


def derive_seed(*parts: object) -> int:
    """63 bits from the parts' text."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(*parts: object) -> np.random.Generator:
    """A numpy generator of its own for these parts."""
    return np.random.default_rng(derive_seed(*parts))


def seed_everything(seed: int) -> None:
    """Seeds python, numpy and torch; call it before a model is built.

    A predecessor built its model unseeded: the "same" run moved by up to 1 BLEU.
    """
    import torch  # seconds; the other functions serve commands that need no model

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
