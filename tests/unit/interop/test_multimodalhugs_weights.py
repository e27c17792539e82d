"""Model folders of MultimodalHugs: built here by hand in its layout, imported, equal in logits."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModelForSeq2SeqLM, PreTrainedModel

from corpus import tiny_corpus
from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.core.clip import SPLITS
from kinesweep.core.errors import CheckpointError, InputError, StoreError
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.data.tokenizer import train_tokenizer
from kinesweep.interop import convert_multimodalhugs_settings, import_multimodalhugs_model
from kinesweep.pipelines.evaluation import evaluate_model_dir
from kinesweep.store.extraction.build import extract_locally

WIDTH, OUT = 12, 16
BACKBONES: dict[str, dict[str, Any]] = {
    "m2m_100": {
        **{"d_model": OUT, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32},
        **{"decoder_ffn_dim": 32, "encoder_attention_heads": 2, "decoder_attention_heads": 2},
    },
    "t5": {"d_model": OUT, "num_layers": 1, "d_ff": 32, "num_heads": 2, "d_kv": 8},
}


class Mapper(nn.Module):
    """Their mapper, by the names of its tensors: norm → linear or convolutions → norm → ReLU."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layer_norm_before = nn.LayerNorm(WIDTH)
        self.mapping_layer: nn.Module
        if kind == "linear":
            self.mapping_layer = nn.Linear(WIDTH, OUT)
            self.layer_norm = nn.LayerNorm(OUT)
        else:
            self.mapping_layer = nn.Module()
            self.mapping_layer.projection_layer = nn.Linear(WIDTH, OUT)
            convolutions = [nn.Conv1d(OUT, 2 * OUT, 3, 2, padding=1) for _ in range(2)]
            self.mapping_layer.conv_layers = nn.ModuleList(convolutions)
        self.kind = kind

    def forward(self, x_TD: Tensor) -> Tensor:
        x_TD = self.layer_norm_before(x_TD)
        if self.kind == "linear":
            return self.layer_norm(self.mapping_layer(x_TD)).relu()
        x_ET = self.mapping_layer.projection_layer(x_TD).T  # type: ignore[operator, union-attr]
        for layer in self.mapping_layer.conv_layers:  # type: ignore[union-attr]
            x_ET = nn.functional.glu(layer(x_ET[None]), dim=1)[0]
        return x_ET.T


class Theirs(nn.Module):
    """Their model: mapper and backbone, joined as they join them."""

    def __init__(self, backbone: PreTrainedModel, kind: str) -> None:
        super().__init__()
        self.multimodal_mapper = Mapper(kind)
        self.backbone = backbone

    def logits(self, x_TD: Tensor, prompt: list[int], labels: list[int]) -> Tensor:
        words = self.backbone.get_encoder().get_input_embeddings()
        eos = self.backbone.config.eos_token_id
        parts = [words(torch.tensor(prompt)), self.multimodal_mapper(x_TD)]
        x_BNE = torch.cat([*parts, words(torch.tensor([eos]))])[None]
        return self.backbone(inputs_embeds=x_BNE, labels=torch.tensor([labels])).logits


def tokenizer() -> TextTokenizer:
    texts = ["the sun shines", "rain falls in the north"]
    return TextTokenizer(
        train_tokenizer(TrainedTokenizerConfig(algorithm="word", size=64), texts, ["__asl__"])
    )


def make_theirs(folder: Path, architecture: str = "m2m_100", kind: str = "linear") -> Theirs:
    """A folder in their layout: config, safetensors with tied tensors once, tokenizer."""
    torch.manual_seed(3)
    text = tokenizer()
    words = text.vocabulary
    config = CONFIG_MAPPING[architecture](
        **BACKBONES[architecture],
        vocab_size=words.size + 3,
        pad_token_id=words.pad_id,
        bos_token_id=words.bos_id,
        eos_token_id=words.eos_id,
        decoder_start_token_id=words.pad_id if architecture == "t5" else words.eos_id,
    )
    model = Theirs(AutoModelForSeq2SeqLM.from_config(config), kind).eval()
    nn.init.normal_(model.multimodal_mapper.layer_norm_before.weight)
    folder.mkdir()
    seen: set[int] = set()
    kept = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.data_ptr() not in seen:
            kept[name] = tensor.detach().contiguous()
        seen.add(tensor.data_ptr())
    save_file(kept, folder / "model.safetensors")
    facts = {
        "model_type": "multimodal_embedder",
        "feat_dim": WIDTH,
        "multimodal_mapper_type": "linear" if kind == "linear" else "cnn_adapter",
        "backbone_type": architecture,
        "backbone_config": config.to_dict(),
    }
    (folder / "config.json").write_text(json.dumps(facts, default=str))
    text.save(folder)
    return model


def recipe_of(kind: str = "linear", **encoder: Any) -> Recipe:
    own = {"linear": {"kind": "linear", "activation": "relu", "norm_out": True}}
    own["cnn_adapter"] = {"kind": "cnn", "channels": OUT}
    mapper = {**own[kind], "standardize": False, "norm_in": True, "dropout": 0.1, **encoder}
    return Recipe.model_validate(
        {
            "name": "imported",
            "source": {"train": "train.tsv"},
            "model": {
                "encoder": mapper,
                "backbone": {"pretrained": "theirs"},
                "tokenizer": {"kind": "pretrained"},
            },
        }
    )


@pytest.mark.parametrize("architecture", BACKBONES)
@pytest.mark.parametrize("kind", ["linear", "cnn_adapter"])
def test_equal_logits(tmp_path: Path, architecture: str, kind: str) -> None:
    theirs = make_theirs(tmp_path / "theirs", architecture, kind)
    import_multimodalhugs_model(tmp_path / "theirs", recipe_of(kind), tmp_path / "ours")
    ours = read_model_folder(tmp_path / "ours")
    x_TD = torch.randn(9, WIDTH)
    prompt = ours.tokenizer.encode_prompt("__asl__")
    labels = ours.tokenizer.encode_target("__asl__", "rain shines")
    with torch.no_grad():
        wanted = theirs.logits(x_TD, prompt, labels)
        found = ours.model(
            {"pose": x_TD[None]},
            {"pose": torch.ones(1, 9, dtype=torch.bool)},
            torch.tensor([prompt]),
            torch.ones(1, len(prompt), dtype=torch.bool),
            torch.tensor([labels]),
        ).logits
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert ours.features["streams"]["pose"]["width"] == WIDTH


def change(folder: Path, **tensors: Tensor | None) -> None:
    from safetensors.torch import load_file

    held: dict[str, Tensor | None] = {**load_file(folder / "model.safetensors"), **tensors}
    kept = {name: tensor for name, tensor in held.items() if tensor is not None}
    save_file(kept, folder / "model.safetensors")


BIAS = "multimodal_mapper.mapping_layer.bias"


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({BIAS: None}, r"`encoders.pose.linear.bias` is missing"),
        ({"multimodal_mapper.extra": torch.ones(1)}, r"`multimodal_mapper.extra` is not part of"),
        ({BIAS: torch.ones(3)}, r"`encoders.pose.linear.bias` is \(3,\), not \(16,\)"),
        ({"feature_extractor.x": torch.ones(1)}, r"`feature_extractor.x` is not part of"),
    ],
)
def test_every_tensor_is_accounted_for(
    tmp_path: Path, tensors: dict[str, Tensor | None], said: str
) -> None:
    make_theirs(tmp_path / "theirs")
    change(tmp_path / "theirs", **tensors)
    with pytest.raises(CheckpointError, match=said):
        import_multimodalhugs_model(tmp_path / "theirs", recipe_of(), tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_sinusoids_of_older_versions_are_passed_over(tmp_path: Path) -> None:
    make_theirs(tmp_path / "theirs")
    plain = import_multimodalhugs_model(
        tmp_path / "theirs", recipe_of(), tmp_path / "plain"
    ).state_dict()
    change(tmp_path / "theirs", **{"backbone.model.encoder.embed_positions.weights": torch.ones(9)})
    ours = import_multimodalhugs_model(
        tmp_path / "theirs", recipe_of(), tmp_path / "ours"
    ).state_dict()
    assert ours.keys() == plain.keys()
    assert all(torch.equal(ours[name], plain[name]) for name in plain)


def test_other_settings_than_those_it_was_trained_with(tmp_path: Path) -> None:
    make_theirs(tmp_path / "theirs")
    with pytest.raises(CheckpointError, match=r"norm_out.* is not part of the model"):
        import_multimodalhugs_model(
            tmp_path / "theirs", recipe_of(norm_out=False), tmp_path / "ours"
        )
    with pytest.raises(CheckpointError, match=r"encoders\.pose"):
        import_multimodalhugs_model(
            tmp_path / "theirs", recipe_of("cnn_adapter"), tmp_path / "ours"
        )


def test_an_adapter_has_nothing_to_import(tmp_path: Path) -> None:
    make_theirs(tmp_path / "theirs")
    path = tmp_path / "theirs/config.json"
    path.write_text(path.read_text().replace('"linear"', '"adapter"'))
    with pytest.raises(InputError, match="saved without weights"):
        import_multimodalhugs_model(tmp_path / "theirs", recipe_of(), tmp_path / "ours")


def test_not_a_folder_of_theirs(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config.json, model.safetensors missing"):
        import_multimodalhugs_model(tmp_path, recipe_of(), tmp_path / "ours")


def test_a_tokenizer_with_more_words_than_rows(tmp_path: Path) -> None:
    make_theirs(tmp_path / "theirs")
    recipe = recipe_of()
    tokens = {"kind": "pretrained", "new_tokens": [f"__{n}__" for n in range(9)]}
    plain = recipe.model_dump(mode="json")
    plain["model"]["tokenizer"] = tokens
    with pytest.raises(InputError, match="the model has embeddings for"):
        import_multimodalhugs_model(
            tmp_path / "theirs", Recipe.model_validate(plain), tmp_path / "ours"
        )


def test_an_imported_model_is_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From settings and folder to scores on its own corpus, as the verbs do it."""
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    corpus = tiny_corpus(tmp_path, clips=24)
    monkeypatch.setattr(sys.modules[__name__], "WIDTH", 534)
    make_theirs(tmp_path / "theirs")
    settings = {
        "model": {
            "multimodal_mapper_layer_norm_before": True,
            "multimodal_mapper_layer_norm": True,
            "multimodal_mapper_activation": True,
            "pretrained_backbone": str(tmp_path / "theirs"),
        },
        "data": {f"{split}_metadata_file": str(corpus / f"{split}.tsv") for split in SPLITS},
        "processor": {"new_vocabulary": "__ksl__,__en__"},
        "training": {"generation_max_length": 8},
    }
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(settings))
    recipe = convert_multimodalhugs_settings(path).recipe
    import_multimodalhugs_model(tmp_path / "theirs", recipe, tmp_path / "ours")
    with pytest.raises(StoreError, match="not extracted"):
        evaluate_model_dir(tmp_path / "ours", "validation", [], None)
    store = extract_locally(recipe)
    found, _ = evaluate_model_dir(tmp_path / "ours", "validation", [], None)
    assert len(found.predictions) == len(store.get_records("validation"))
    assert found.scores["token_loss"] > 0


@pytest.mark.parametrize("name", ["multimodal_mapper", "vl_mapper"])
@pytest.mark.parametrize("layer", ["layer_norm", "activation"])
def test_layers_after_convolutions_are_refused(tmp_path: Path, name: str, layer: str) -> None:
    """Configurations of earlier versions call the mapper `vl_mapper`."""
    make_theirs(tmp_path / "theirs", kind="cnn_adapter")
    path = tmp_path / "theirs/config.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, f"{name}_{layer}": True}))
    with pytest.raises(InputError, match=f"followed by `{layer}`"):
        import_multimodalhugs_model(
            tmp_path / "theirs", recipe_of("cnn_adapter"), tmp_path / "ours"
        )
