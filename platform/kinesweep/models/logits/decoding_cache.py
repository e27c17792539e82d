"""The keys and values that a language model keeps while it writes a text.

A dynamic cache grows with each token. A static one has its final size from the start: more
arithmetic for short texts, but the same shapes in every step, which lets Hugging Face capture the
steps as CUDA graphs on a GPU. Greedy texts are the same with both.

Shapes: B clips, K beams.
"""

from typing import Any

from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, StaticCache


class BeamCache(EncoderDecoderCache):
    """A cache of keys and values during decoding.

    All beams of a clip attend to the same encoder output, so only the decoder's self-attention
    cache is reordered when beams are reordered.
    """

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Reorder the self-attention cache so that each row continues the beam with its index.

        Args:
            beam_idx: Index of the row that each row continues, (B · K,).
        """
        self.self_attention_cache.reorder_cache(beam_idx)


def build_beam_cache(
    config: Any, is_static: bool, max_new_tokens: int, num_vectors: int
) -> BeamCache:
    """Build the cache of an encoder-decoder.

    Args:
        config: Hugging Face configuration of the model.
        is_static: Whether the cache has its final size from the start.
        max_new_tokens: Largest number of generated tokens.
        num_vectors: Number of vectors of the encoder's output.
    """
    if not is_static:
        return BeamCache(DynamicCache(config=config), DynamicCache(config=config))
    return BeamCache(
        # The start token precedes the generated ones.
        StaticCache(config=config, max_cache_len=max_new_tokens + 1),
        StaticCache(config=config, max_cache_len=num_vectors),
    )
