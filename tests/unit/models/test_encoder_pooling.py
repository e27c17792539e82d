"""A decoder that reads one vector per clip, as SONAR's text decoder reads a sentence embedding."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import M2M100Config, M2M100ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.errors import InputError
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator

WORDS = Vocabulary(size=30, pad_id=1, bos_id=0, eos_id=2)
SIZES: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "init_std": 0.3,
}
SCRATCH = {"architecture": "m2m_100", **SIZES}
LABELS = torch.tensor([[7, 5, 9, 2], [6, 2, -100, -100]])


@pytest.fixture
def decoder_folder(tmp_path: Path) -> Path:
    """A tiny model of the class in which SONAR's decoder is published."""
    torch.manual_seed(3)
    config = M2M100Config(vocab_size=30, **SIZES)
    M2M100ForConditionalGeneration(config).save_pretrained(tmp_path / "sonar")
    return tmp_path / "sonar"


def build(backbone: dict[str, Any]) -> Translator:
    seed_everything(0)
    encoder = {"kind": "linear", "dropout": 0.0}
    config = ModelConfig.model_validate(
        {
            "backbone": {"kind": "seq2seq", **backbone},
            "encoder": encoder,
            "tokenizer": {"kind": "pretrained" if "pretrained" in backbone else "train"},
        }
    )
    return build_translator(config, {"pose": 5}, WORDS).eval()


def make_inputs() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    torch.manual_seed(1)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    return {"pose": torch.randn(2, 6, 5)}, {"pose": mask}


@torch.no_grad()
def embed(model: Translator) -> Tensor:
    """The sentence embedding of each clip, (B, 1, E), computed clip by clip without padding."""
    x, mask = model.build_inputs_embeds(*make_inputs())
    encoder = model.backbone.get_encoder()
    rows = [encoder(inputs_embeds=a[m][None])[0].mean(dim=1) for a, m in zip(x, mask, strict=True)]
    return torch.stack(rows)


@torch.no_grad()
def test_it_decodes_as_sonar_is_decoded(decoder_folder: Path) -> None:
    model = build({"pretrained": str(decoder_folder), "encoder_pooling": "mean"})
    plain = M2M100ForConditionalGeneration.from_pretrained(decoder_folder).eval()
    sentences = embed(model)
    decoder_ids = torch.tensor([[2, 7, 5, 9], [2, 6, 2, 1]])
    output = plain(encoder_outputs=BaseModelOutput(sentences), decoder_input_ids=decoder_ids)
    streams, masks = make_inputs()
    logits = model(streams, masks, labels=LABELS).logits
    assert torch.allclose(logits[0], output.logits[0], atol=1e-5)
    assert torch.allclose(logits[1, :2], output.logits[1, :2], atol=1e-5)
    forced = torch.tensor([[7], [6]])
    settings = {"num_beams": 3, "max_new_tokens": 6}
    texts = model.generate(
        streams, masks, forced_ids=forced, forced_mask=torch.ones_like(forced).bool(), **settings
    )
    for row, language in enumerate((7, 6)):
        alone = plain.generate(
            encoder_outputs=BaseModelOutput(sentences[row : row + 1]),
            forced_bos_token_id=language,
            do_sample=False,
            **settings,
        )[0, 1:].tolist()
        assert texts[row].tolist()[: len(alone)] == alone


def test_pooling_is_saved_and_learns(tmp_path: Path) -> None:
    pooled, whole = (
        build({"scratch": SCRATCH, "encoder_pooling": "mean"}),
        build({"scratch": SCRATCH}),
    )
    streams, masks = make_inputs()
    with torch.no_grad():
        logits, plain = (model(streams, masks, labels=LABELS).logits for model in (pooled, whole))
        assert (logits - plain).abs().max() > 1e-2
        pooled.save_pretrained(tmp_path / "saved")
        again = Translator.from_pretrained(tmp_path / "saved").eval()
        assert torch.equal(again(streams, masks, labels=LABELS).logits, logits)
    pooled(streams, masks, labels=LABELS).loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in pooled.encoders.parameters())


def test_there_are_no_maps_over_frames() -> None:
    model = build({"scratch": SCRATCH, "encoder_pooling": "mean"})
    x, mask = model.build_inputs_embeds(*make_inputs())
    with pytest.raises(InputError, match="attends to a single vector"):
        model._backbone_ops.compute_attention_weights(model.backbone, x, mask, LABELS)


@torch.no_grad()
def test_references_of_a_clip_share_its_embedding() -> None:
    model = build({"scratch": SCRATCH, "encoder_pooling": "mean"})
    streams, masks = make_inputs()
    other = torch.tensor([[9, 2, -100, -100], [5, 5, 2, -100]])
    both = torch.stack([LABELS, other], dim=1).flatten(0, 1)
    alone = [model(streams, masks, labels=each).logits for each in (LABELS, other)]
    x, mask = model.build_inputs_embeds(streams, masks)
    clip_R = torch.tensor([0, 0, 1, 1])
    logits = model._backbone_ops.compute_logits(model.backbone, x, mask, both, clip_R)
    assert torch.allclose(logits[0], alone[0][0], atol=1e-5)
    assert torch.allclose(logits[3, :3], alone[1][1, :3], atol=1e-5)
