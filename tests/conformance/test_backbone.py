"""`BackboneContract`: what every backbone must do.

A new architecture is one line in `SCRATCH` (encoder-decoders) or `ALONE` (causal).
"""

from functools import cache

import pytest
import torch
from transformers import PreTrainedModel

from kinesweep.config.recipe.model.backbone import CausalBackboneConfig, Seq2SeqBackboneConfig
from kinesweep.core.batch import IGNORE
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models.backbones import BACKBONES
from kinesweep.models.backbones.causal import CausalBackbone
from kinesweep.models.backbones.seq2seq import Seq2SeqBackbone
from kinesweep.models.generation import DecodingSettings
from tolerances import assert_same, float64  # noqa: F401

pytestmark = pytest.mark.usefixtures("float64")

WORDS = Vocabulary(size=40, pad_id=0, bos_id=1, eos_id=2)
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


def kind_of(name: str) -> Seq2SeqBackbone | CausalBackbone:
    return BACKBONES["causal" if name in ALONE else "seq2seq"]


@cache
def backbone(name: str) -> PreTrainedModel:
    torch.manual_seed(3)
    config = CausalBackboneConfig if name in ALONE else Seq2SeqBackboneConfig
    scratch = {"architecture": name.split(",")[0], **{**SCRATCH, **ALONE}[name]}
    return kind_of(name).create_model(config(scratch=scratch), WORDS, True).eval()


@pytest.fixture(params=[*SCRATCH, *ALONE])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(4, 9, 16), torch.arange(9) < torch.tensor([9, 4, 7, 2])[:, None]


def labels() -> torch.Tensor:
    torch.manual_seed(2)
    labels_BL = torch.randint(3, 40, (4, 6))
    labels_BL[1, 3:] = IGNORE
    return labels_BL


def asked(**changes: object) -> DecodingSettings:
    plain = {"num_beams": 1, "max_new_tokens": 12, "length_penalty": 1.0, "num_tokens": 40}
    return DecodingSettings(**{**plain, **changes})


def test_special_tokens_are_the_tokenizers(name: str) -> None:
    config = backbone(name).config
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (0, 1, 2)
    assert config.vocab_size == 40
    if name in SCRATCH:
        assert config.decoder_start_token_id == STARTS.get(name, 2)


def test_embedded_tokens_are_those_the_model_would_use(name: str) -> None:
    model = backbone(name)
    ids_BP = torch.randint(3, 40, (2, 5))
    reader = model.get_encoder() if name in SCRATCH else model.get_decoder()
    by_ids = reader(input_ids=ids_BP).last_hidden_state
    by_vectors = reader(inputs_embeds=kind_of(name).embed_tokens(model, ids_BP)).last_hidden_state
    assert_same(by_vectors, by_ids, 0.0 if name in ALONE else 1e-9)


@torch.no_grad()
def test_logits_see_earlier_labels_only(name: str) -> None:
    model = backbone(name)
    before_BLV = kind_of(name).compute_logits(model, *vectors(), labels())
    changed_BL = labels()
    changed_BL[:, 2] = torch.where(changed_BL[:, 2] == 5, 6, 5)
    after_BLV = kind_of(name).compute_logits(model, *vectors(), changed_BL)
    moved_BL = (before_BLV - after_BLV).abs().amax(dim=2)
    assert (moved_BL[:, :3] == 0).all()
    assert (moved_BL[:, 3] > 1e-4).all()


@torch.no_grad()
def test_logits_do_not_depend_on_the_batch(name: str) -> None:
    model, (x_BNE, mask_BN) = backbone(name), vectors()
    together_BLV = kind_of(name).compute_logits(model, x_BNE, mask_BN, labels())
    for row, length in enumerate(mask_BN.sum(dim=1)):
        num_labels = int((labels()[row] != IGNORE).sum())
        alone_LV = kind_of(name).compute_logits(
            model,
            x_BNE[row : row + 1, :length],
            mask_BN[row : row + 1, :length],
            labels()[row : row + 1, :num_labels],
        )[0]
        assert_same(together_BLV[row, :num_labels], alone_LV)


@pytest.mark.parametrize("num_beams", [1, 4])
def test_texts_do_not_depend_on_the_batch(name: str, num_beams: int) -> None:
    model, (x_BNE, mask_BN) = backbone(name), vectors()
    together_BL = kind_of(name).generate(model, x_BNE, mask_BN, asked(num_beams=num_beams))
    texts = [row[row != WORDS.pad_id].tolist() for row in together_BL]
    for row, length in enumerate(mask_BN.sum(dim=1)):
        clip = slice(row, row + 1)
        alone_BL = kind_of(name).generate(
            model, x_BNE[clip, :length], mask_BN[clip, :length], asked(num_beams=num_beams)
        )
        assert alone_BL[0][alone_BL[0] != WORDS.pad_id].tolist() == texts[row]
    assert len({tuple(text) for text in texts}) > 1, "a test on equal texts shows nothing"


@torch.no_grad()
def test_greedy_decoding_follows_the_logits(name: str) -> None:
    """Generation and training share one path: each token is the best after those before it."""
    model, (x_BNE, mask_BN) = backbone(name), vectors()
    written_BL = kind_of(name).generate(model, x_BNE, mask_BN, asked())
    logits_BLV = kind_of(name).compute_logits(model, x_BNE, mask_BN, written_BL)
    ended_BL = (written_BL == WORDS.eos_id).cumsum(dim=1) - (written_BL == WORDS.eos_id).long()
    is_text_BL = ended_BL == 0
    assert torch.equal(logits_BLV.argmax(dim=2)[is_text_BL], written_BL[is_text_BL])


def test_a_saved_configuration_rebuilds_it(name: str) -> None:
    model = backbone(name)
    again = kind_of(name).create_from_saved_config(model.config.to_dict()).eval()
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        logits = [kind_of(name).compute_logits(m, *vectors(), labels()) for m in (model, again)]
    assert torch.equal(*logits)
