"""Masking of texts for their restoration, reproducible by clip.

Which tokens are masked depends on the seed, the number of the batch and the clip, never on the rank
or on padding, so a resumed run and a run on more workers mask the same tokens.

Shapes: B clips, L target tokens.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kinesweep.config.recipe.objectives.text_alignment import RestorationConfig
from kinesweep.core.batch import IGNORE
from kinesweep.core.seeds import create_generator


def draw_masked_tokens(
    labels_BL: Tensor, clip_ids: Sequence[str], config: RestorationConfig, *seed_parts: object
) -> Tensor:
    """Draw which tokens of each text are masked, bool (B, L); the end token never is.

    A text of one token is not masked at random, because nothing would be left to restore it from.

    Args:
        labels_BL: Labels of the texts, each with its end token; `IGNORE` where padded.
        clip_ids: Id of each clip.
        config: Share and placement of the masked tokens.
        *seed_parts: Values that identify the draw, such as a seed and the number of the batch.
    """
    masked_BL = np.zeros(tuple(labels_BL.shape), dtype=bool)
    # Without the end token, which says nothing about the text.
    lengths = ((labels_BL != IGNORE).sum(dim=1) - 1).tolist()
    for row, (clip_id, length) in enumerate(zip(clip_ids, lengths, strict=True)):
        # A generator of its own per clip: the batch in which a clip lies does not matter.
        rng = create_generator("mask", *seed_parts, clip_id)
        masked_BL[row, _draw_positions(length, config, rng)] = True
    return torch.from_numpy(masked_BL).to(labels_BL.device)


def _draw_positions(length: int, config: RestorationConfig, rng: np.random.Generator) -> np.ndarray:
    """Draw the masked positions of a text of `length` tokens, without its end token."""
    if config.masking == "last":
        num_masked = int(np.ceil(length * rng.uniform(0, config.mask_share)))
        return np.arange(length - num_masked, length)
    if length < 2:
        return np.arange(0)
    # At least one token to restore, and one to restore it from.
    num_masked = min(max(1, round(length * config.mask_share)), length - 1)
    return rng.choice(length, num_masked, replace=False)
