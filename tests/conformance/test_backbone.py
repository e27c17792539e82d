"""`BackboneContract` on every architecture.

A new architecture is one line in `SCRATCH` (encoder-decoders) or `ALONE` (causal).
"""

from typing import Any

import pytest
from transformers import PreTrainedModel

from kinesweep.config.recipe.model.backbone import CausalBackboneConfig, Seq2SeqBackboneConfig
from kinesweep.testing import BackboneContract

_BART = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "init_std": 0.3,  # so strong that an untrained model writes different texts
}
_T5 = {"d_model": 16, "num_layers": 2, "d_ff": 32, "num_heads": 2, "d_kv": 8}
SCRATCH = {
    "m2m_100": _BART,
    "bart": _BART,
    "bart, scaled": {**_BART, "scale_embedding": True},
    "mbart": _BART,
    "pegasus": {**_BART, "scale_embedding": True},
    "marian": {**_BART, "scale_embedding": True},
    "t5": {**_T5, "initializer_factor": 2.0},
    "mt5": {**_T5, "feed_forward_proj": "gated-gelu", "initializer_factor": 2.0},
}
_LLAMA = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "initializer_range": 0.3,
    "max_position_embeddings": 64,
}
_GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.3, "n_positions": 64}
_NEOX = {k: v for k, v in _LLAMA.items() if k != "num_key_value_heads"}
ALONE = {
    "llama": _LLAMA,
    "mistral, windowed": {**_LLAMA, "sliding_window": 4},
    "qwen2": _LLAMA,
    "gemma": {**_LLAMA, "head_dim": 8},
    "gemma2": {**_LLAMA, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 4},
    "gpt2": _GPT2,
    "gpt_neox": _NEOX,
    "opt": {
        "hidden_size": 16,
        "ffn_dim": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 16,
        "init_std": 0.3,
        "max_position_embeddings": 64,
    },
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.3},
}
STARTS = {"t5": 0, "mt5": 0, "pegasus": 0, "marian": 0}
"""The token that the decoder starts with; 2, the end of a sentence, for all others."""


class TestBackbones(BackboneContract):
    @pytest.fixture(params=[*SCRATCH, *ALONE])
    def section(self, request: pytest.FixtureRequest) -> Any:
        config = CausalBackboneConfig if request.param in ALONE else Seq2SeqBackboneConfig
        keys = {**SCRATCH, **ALONE}[request.param]
        return config(scratch={"architecture": request.param.split(",")[0], **keys})

    def test_the_decoder_starts_as_pretraining_did(
        self, section: Any, model: PreTrainedModel
    ) -> None:
        if section.kind == "seq2seq":
            start = STARTS.get(section.scratch["architecture"], 2)
            assert model.config.decoder_start_token_id == start
