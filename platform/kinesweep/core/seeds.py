"""Random numbers that depend on their purpose and not on the order in which they are drawn.

`derive_seed(seed, "order", epoch)` returns the same number in every process, so any worker can draw
the random numbers of any clip without a shared generator.
"""

import hashlib
import random

import numpy as np


def derive_seed(*parts: object) -> int:
    """Derive a 63-bit seed from the texts of the parts; it is the same in every process.

    Args:
        *parts: Values that identify the purpose, such as a seed, a word and an epoch; their `str`
            is used.
    """
    # The unit separator keeps ("ab", "c") and ("a", "bc") apart.
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    # 63 bits fit into a signed 64-bit integer. Python's `hash` would differ between processes.
    return int.from_bytes(digest, "big") >> 1


def create_generator(*parts: object) -> np.random.Generator:
    """Create a NumPy generator with the seed `derive_seed(*parts)`."""
    return np.random.default_rng(derive_seed(*parts))


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch; must be called before a model is built.

    A predecessor built its model before seeding: repetitions of a run differed by up to 1 BLEU.
    """
    import torch  # takes seconds to import, and commands without a model use this module too

    random.seed(seed)
    np.random.seed(seed % 2**32)  # NumPy accepts 32 bits only
    torch.manual_seed(seed)
