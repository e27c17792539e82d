"""A tiny Llama and its tokenizer, saved as Hugging Face saves them; made by code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.core.clip import Clip
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.store.format.index import ClipRecord


def tiny_llama(
    texts: Sequence[str],
    width: int = 32,
    seed: int = 0,
    positions: int = 512,
    size: int = 1024,
    **others: Any,
) -> tuple[LlamaForCausalLM, TextTokenizer]:
    """A Llama of two layers with random weights, and a tokenizer of these texts' words.

    Args:
        texts: what it will read and write.
        width: of its vectors.
        seed: of its weights.
        positions: that it has.
        size: words at the most.
        **others: keys of its configuration, instead of these.
    """
    clips = [Clip(str(n), "train", "", texts=(text,)) for n, text in enumerate(texts)]
    config = TrainedTokenizerConfig(algorithm="word", size=size)
    text = build_tokenizer(config, [ClipRecord(clip, {}) for clip in clips], None)
    words = text.vocabulary
    torch.manual_seed(seed)
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "vocab_size": words.size, **others}
    special = {"pad_token_id": words.pad_id, "bos_token_id": words.bos_id}
    llama = LlamaConfig(
        **sizes,
        **special,
        eos_token_id=words.eos_id,
        max_position_embeddings=positions,
    )
    return LlamaForCausalLM(llama), text


def save_llama(folder: Path, model: LlamaForCausalLM, text: TextTokenizer) -> Path:
    """A folder that `model.backbone.pretrained` takes."""
    model.save_pretrained(folder)
    text.tokenizer.save_pretrained(folder)
    return folder
