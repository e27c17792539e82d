"""Checkpoints of SSVP-SLT in their three layouts, built by code, and recipes that import them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModelForSeq2SeqLM, PreTrainedModel

from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.data.tokenizer import train_tokenizer
from kinesweep.interop import import_ssvp

WIDTH, OUT = 12, 16
M2M = {
    **{"d_model": OUT, "encoder_layers": 2, "decoder_layers": 1, "encoder_ffn_dim": 32},
    **{"decoder_ffn_dim": 32, "encoder_attention_heads": 2, "decoder_attention_heads": 2},
}
T5 = {"d_model": OUT, "num_layers": 2, "d_ff": 32, "num_heads": 2, "d_kv": 8}
BACKBONES: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": ("t5", {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "bart": ("bart", M2M),
    "tarres": ("tarres", M2M),
}
LAYOUTS = list(BACKBONES)
Change = Callable[[dict[str, Tensor]], None]


class Theirs(nn.Module):
    """Their model: features are projected and scaled, then read by the backbone, no end behind."""

    def __init__(self, layout: str, text: TextTokenizer) -> None:
        super().__init__()
        architecture, keys = BACKBONES[layout]
        words = text.vocabulary
        start = words.pad_id if layout == "t5" else words.eos_id
        config = CONFIG_MAPPING[architecture](
            **keys,
            vocab_size=words.size,
            pad_token_id=words.pad_id,
            bos_token_id=words.bos_id,
            eos_token_id=words.eos_id,
            decoder_start_token_id=start,
        )
        self.layout = layout
        self.linear = nn.Linear(WIDTH, OUT)
        self.scale = nn.Parameter(torch.rand(OUT) + 0.5)
        if layout == "tarres":
            self.scale.data.fill_(math.sqrt(OUT))
        self.backbone: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(config)
        for name, weight in self.backbone.named_parameters():
            if "norm" in name:  # all ones and zeros at first, as if they were not there
                nn.init.normal_(weight)

    def logits(self, x_TD: Tensor, labels: list[int]) -> Tensor:
        x_BTE = (self.scale * self.linear(x_TD))[None]
        return self.backbone(inputs_embeds=x_BTE, labels=torch.tensor([labels])).logits

    def named(self) -> dict[str, Tensor]:
        """Its tensors by the names they have there."""
        state = {name: tensor.clone() for name, tensor in self.backbone.state_dict().items()}
        if self.layout == "tarres":
            return self._fairseq(state)
        encoder = "encoder." if self.layout == "t5" else "model.encoder."
        place = f"{encoder}feature_projection.feature_proj"
        state[f"{place}.weight"], state[f"{place}.bias"] = self.linear.weight, self.linear.bias
        state[f"{place}_scale"] = self.scale
        return state

    def _fairseq(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """fairseq's names; its encoder has no embeddings and its adapter no scale of its own."""
        found = {
            "transformer.encoder.feat_proj.weight": self.linear.weight,
            "transformer.encoder.feat_proj.bias": self.linear.bias,
            "transformer.decoder.output_projection.weight": state.pop("lm_head.weight"),
            "transformer.decoder.version": torch.ones(1),
            "transformer.encoder.embed_positions._float_tensor": torch.zeros(1),
        }
        del state["model.shared.weight"], state["model.encoder.embed_tokens.weight"]
        for name, tensor in state.items():
            theirs = name.replace("model.encoder.layers", "model.encoder.transformer_layers")
            theirs = theirs.replace("layers.0.layernorm_embedding", "layernorm_embedding")
            found[theirs.replace("model.", "transformer.", 1)] = tensor
        return found


def tokenizer() -> TextTokenizer:
    texts = ["the sun shines", "rain falls in the north"]
    return TextTokenizer(
        train_tokenizer(TrainedTokenizerConfig(algorithm="word", size=64), texts, [])
    )


def make_theirs(
    folder: Path, layout: str, change: Change = lambda _: None, text: TextTokenizer | None = None
) -> Theirs:
    """`best_model.pth` in a layout, and the tokenizer beside it."""
    torch.manual_seed(3)
    text = text or tokenizer()
    model = Theirs(layout, text).eval()
    folder.mkdir()
    state = model.named()
    change(state)
    torch.save({"model": state, "scaler": {}}, folder / "best_model.pth")
    text.save(folder / "tokenizer")
    return model


def recipe_of(layout: str, **encoder: Any) -> Recipe:
    architecture, keys = BACKBONES[layout]
    plain = {"standardize": False, "norm_in": False, "norm_out": False, "activation": "none"}
    return Recipe.model_validate(
        {
            "name": "imported",
            "source": {"train": "train.tsv"},
            "model": {
                "encoder": {"kind": "linear", "gain": True, "dropout": 0.0, **plain, **encoder},
                "append_eos": False,
                "backbone": {"scratch": {"architecture": architecture, **keys}},
                "tokenizer": {"kind": "train"},
            },
        }
    )


def imported(folder: Path, layout: str, **encoder: Any) -> Any:
    theirs, words = folder / "theirs/best_model.pth", str(folder / "theirs/tokenizer")
    return import_ssvp(theirs, recipe_of(layout, **encoder), folder / "ours", words)


@torch.no_grad()
def check_equal(theirs: Theirs, folder: Path) -> None:
    """Logits of the written folder are theirs."""
    ours = read_model_folder(folder)
    x_TD = torch.randn(9, WIDTH)
    labels = ours.tokenizer.encode_target("", "rain shines")
    found = ours.model(
        {"pose": x_TD[None]}, {"pose": torch.ones(1, 9, dtype=torch.bool)}, labels=labels_of(labels)
    ).logits
    torch.testing.assert_close(found, theirs.logits(x_TD, labels), rtol=0, atol=1e-5)
    assert ours.features["streams"]["pose"]["width"] == WIDTH


def labels_of(labels: list[int]) -> Tensor:
    return torch.tensor([labels])
