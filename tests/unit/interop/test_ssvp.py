"""Checkpoints of SSVP-SLT, built here in each of its three layouts, imported, equal in logits."""

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoModelForSeq2SeqLM, PreTrainedModel

from corpus import tiny_corpus, tiny_recipe
from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.checkpoints.model_dir_files import format_recipe_yaml
from kinesweep.cli import main
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.data.external_tokenizer import load_external_tokenizer
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.data.tokenizer import train_tokenizer
from kinesweep.interop import import_ssvp
from kinesweep.pipelines.evaluation import evaluate_model_dir
from kinesweep.store.extraction.build import extract_locally

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


@pytest.mark.parametrize("layout", LAYOUTS)
def test_equal_logits(tmp_path: Path, layout: str) -> None:
    theirs = make_theirs(tmp_path / "theirs", layout)
    imported(tmp_path, layout)
    check_equal(theirs, tmp_path / "ours")


def renamed(old: str, new: str) -> Change:
    def change(state: dict[str, Tensor]) -> None:
        for name in [name for name in state if old in name]:
            state[name.replace(old, new, 1)] = state.pop(name)

    return change


def wrapped(word: str) -> Change:
    def change(state: dict[str, Tensor]) -> None:
        for name in list(state):
            state[word + name] = state.pop(name)

    return change


@pytest.mark.parametrize(
    ("layout", "change"),
    [
        ("t5", wrapped("module.")),
        ("t5", wrapped("module.model.")),
        ("t5", wrapped("backbone.")),
        ("t5", renamed("encoder.feature_projection.", "")),
        ("bart", wrapped("backbone.")),
        ("bart", renamed("model.encoder.feature_projection.", "")),
        ("tarres", wrapped("module.")),
        ("tarres", renamed("transformer.", "")),
        ("tarres", renamed("transformer_layers", "layers")),
    ],
)
def test_other_names_of_the_same(tmp_path: Path, layout: str, change: Change) -> None:
    theirs = make_theirs(tmp_path / "theirs", layout, change)
    imported(tmp_path, layout)
    check_equal(theirs, tmp_path / "ours")


def test_features_that_are_given_are_the_stream(tmp_path: Path) -> None:
    """Manifest and features as in `ssvp_t5`."""
    theirs = make_theirs(tmp_path / "theirs", "t5")
    plain = recipe_of("t5").model_dump(mode="json")
    plain["source"] = {"kind": "feature_manifest", "train": "manifests/train_features.tsv"}
    plain["features"] = {"kind": "precomputed", "stream": "hiera"}
    path, words = tmp_path / "theirs/best_model.pth", str(tmp_path / "theirs/tokenizer")
    model = import_ssvp(path, Recipe.model_validate(plain), tmp_path / "ours", words)
    assert torch.equal(model.encoders["hiera"].linear.weight, theirs.linear.weight)
    ours = read_model_folder(tmp_path / "ours")
    assert ours.features["streams"]["hiera"]["width"] == WIDTH


def test_tensors_alone_without_a_dictionary_around_them(tmp_path: Path) -> None:
    theirs = make_theirs(tmp_path / "theirs", "t5")
    torch.save(theirs.named(), tmp_path / "theirs/best_model.pth")
    imported(tmp_path, "t5")
    check_equal(theirs, tmp_path / "ours")


def without(name: str) -> Change:
    def change(state: dict[str, Tensor]) -> None:
        del state[name]

    return change


PROJECTION = {
    "t5": "encoder.feature_projection.feature_proj",
    "bart": "model.encoder.feature_projection.feature_proj",
    "tarres": "transformer.encoder.feat_proj",
}
INNER = {
    "t5": ("encoder.block.1.layer.0.SelfAttention.q.weight",) * 2,
    "bart": ("model.encoder.layers.1.fc1.weight",) * 2,
    "tarres": ("transformer.encoder.transformer_layers.1.fc1.weight", "model.encoder.layers.1.fc1"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_an_extra_and_a_misshapen_tensor_are_named(tmp_path: Path, layout: str) -> None:
    theirs, ours = INNER[layout]
    bias = PROJECTION[layout] + ".bias"
    changes: list[tuple[Change, str]] = [
        (without(bias), r"`encoders\.pose\.linear\.bias` is missing"),
        (without(theirs), rf"{ours}.*` is missing"),
        (
            lambda state: state.update({"odd.weight": torch.ones(1)}),
            r"`odd\.weight` is not part of the model",
        ),
        (
            lambda state: state.update({bias: torch.ones(3)}),
            r"linear\.bias` is \(3,\), not \(16,\)",
        ),
        (lambda state: state.update({theirs: torch.ones(2, 2)}), rf"{ours}.* is \(2, 2\)"),
    ]
    for number, (change, said) in enumerate(changes):
        folder = tmp_path / str(number)
        folder.mkdir()
        make_theirs(folder / "theirs", layout, change)
        with pytest.raises(CheckpointError, match=said):
            imported(folder, layout)
        assert not (folder / "ours").exists()


def test_tied_tensors_that_differ_are_refused(tmp_path: Path) -> None:
    """As when a recipe ties the output, and the checkpoint's is its own."""

    def change(state: dict[str, Tensor]) -> None:
        state["lm_head.weight"] = state["lm_head.weight"] + 1

    make_theirs(tmp_path / "theirs", "bart", change)
    with pytest.raises(CheckpointError, match=r"lm_head.* differs from .* the model ties to it"):
        imported(tmp_path, "bart")


def test_two_names_of_one_tensor_are_refused(tmp_path: Path) -> None:
    def change(state: dict[str, Tensor]) -> None:
        state["feature_proj.bias"] = torch.ones(OUT)

    make_theirs(tmp_path / "theirs", "t5", change)
    with pytest.raises(CheckpointError, match=r"two tensors stand for `encoders\.pose\.linear"):
        imported(tmp_path, "t5")


def test_a_recipe_without_gain_has_no_place_for_theirs(tmp_path: Path) -> None:
    for layout in LAYOUTS:
        make_theirs(tmp_path / layout, layout)
        (tmp_path / layout).rename(tmp_path / "theirs")
        with pytest.raises(CheckpointError, match=r"`encoders\.pose\.gain` is not part"):
            imported(tmp_path, layout, gain=False)
        (tmp_path / "theirs").rename(tmp_path / f"{layout}_done")


def test_tarres_norm_has_no_place_in_m2m_100(tmp_path: Path) -> None:
    make_theirs(tmp_path / "theirs", "tarres")
    plain = recipe_of("tarres").model_dump(mode="json")
    plain["model"]["backbone"]["scratch"]["architecture"] = "m2m_100"
    path, words = tmp_path / "theirs/best_model.pth", str(tmp_path / "theirs/tokenizer")
    with pytest.raises(CheckpointError, match=r"layernorm_embedding\.weight` is not part"):
        import_ssvp(path, Recipe.model_validate(plain), tmp_path / "ours", words)


class Runs:
    """Something that would run when a pickle is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("it_ran",)


def test_nothing_in_the_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_theirs(tmp_path / "theirs", "t5")
    torch.save({"model": {}, "cfg": Runs()}, tmp_path / "theirs/best_model.pth")
    with pytest.raises(CheckpointError, match="never built"):
        imported(tmp_path, "t5")
    assert not Path("it_ran").exists()


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ([1], "neither `model` nor named tensors"),
        ({"model": {}}, "neither `model` nor named tensors"),
        ({"model": {"a": 1}}, "`a`, which is not a tensor"),
        ({"model": {"a": torch.ones(1)}}, "no projection of features"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, held: Any, said: str) -> None:
    make_theirs(tmp_path / "theirs", "t5")
    torch.save(held, tmp_path / "theirs/best_model.pth")
    with pytest.raises(CheckpointError, match=said):
        imported(tmp_path, "t5")


def test_no_file_and_no_tokenizer(tmp_path: Path) -> None:
    make_theirs(tmp_path / "theirs", "t5")
    path = tmp_path / "theirs/best_model.pth"
    with pytest.raises(InputError, match="say where its tokenizer is"):
        import_ssvp(path, recipe_of("t5"), tmp_path / "ours")
    path.write_bytes(b"no pickle")
    with pytest.raises(CheckpointError, match="cannot be read as tensors"):
        imported(tmp_path, "t5")


def test_a_folders_configuration_is_enough_for_its_backbone(tmp_path: Path) -> None:
    """`model.backbone.pretrained` as in `ssvp_t5`: rows beyond the tokenizer, no weights read."""
    theirs = make_theirs(tmp_path / "theirs", "t5")
    theirs.backbone.config.save_pretrained(tmp_path / "plain")
    tokenizer().save(tmp_path / "plain")
    plain = recipe_of("t5").model_dump(mode="json")
    plain["model"]["backbone"] = {"pretrained": str(tmp_path / "plain"), "dropout": 0.3}
    plain["model"]["tokenizer"] = {"kind": "pretrained"}
    path = tmp_path / "theirs/best_model.pth"
    import_ssvp(path, Recipe.model_validate(plain), tmp_path / "ours")
    check_equal(theirs, tmp_path / "ours")
    config = json.loads((tmp_path / "ours/config.json").read_text())
    assert config["backbone"]["dropout_rate"] == 0.3


def test_fairseqs_tokenizer_and_case_from_texts(tmp_path: Path) -> None:
    """Numbers of `dictionary.txt`: padding is 1, as fairseq's positions count on."""
    folder = tmp_path / "spm"
    folder.mkdir()
    with (folder / "sentencepiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["the sun shines", "rain falls in the north"]),
            model_writer=file,
            vocab_size=25,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    theirs = sentencepiece.SentencePieceProcessor(str(folder / "sentencepiece.model"))
    lines = [f"{theirs.id_to_piece(i)} 1\n" for i in range(3, len(theirs))]
    (folder / "dictionary.txt").write_text("".join(lines), encoding="utf-8")
    text = TextTokenizer(load_external_tokenizer(str(folder), [], []))
    assert text.vocabulary.pad_id == 1
    model = make_theirs(tmp_path / "theirs", "tarres", text=text)
    plain = recipe_of("tarres").model_dump(mode="json")
    plain["model"]["tokenizer"] = {"kind": "folder", "path": str(folder), "lowercase": True}
    plain["generation"]["truecase"] = True
    recipe = Recipe.model_validate(plain)
    path = tmp_path / "theirs/best_model.pth"
    with pytest.raises(InputError, match="no texts to learn case from"):
        import_ssvp(path, recipe, tmp_path / "ours")
    import_ssvp(path, recipe, tmp_path / "ours", texts=["in the North"])
    check_equal(model, tmp_path / "ours")
    written = read_model_folder(tmp_path / "ours").tokenizer
    ids = written.encode_target("", "Rain FALLS in the north")
    assert written.decode(ids, truecase=True) == "Rain falls in the North"


def test_the_verb_imports_and_the_model_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys.modules[__name__], "WIDTH", 534)
    make_theirs(tmp_path / "theirs", "bart")
    model = recipe_of("bart").model_dump(mode="json")["model"]
    corpus = tiny_corpus(tmp_path, clips=24)
    recipe = tiny_recipe(corpus, tmp_path / "stores", generation={"max_new_tokens": 8})
    recipe = Recipe.model_validate({**recipe.model_dump(mode="json"), "model": model})
    (tmp_path / "recipe.yaml").write_text(format_recipe_yaml(recipe))
    words = [str(tmp_path / "theirs/best_model.pth"), str(tmp_path / "recipe.yaml")]
    into = ["--into", str(tmp_path / "ours"), "--tokenizer", str(tmp_path / "theirs/tokenizer")]

    def called(*arguments: str) -> int:
        with pytest.raises(SystemExit) as left:
            main(["convert", *arguments, "--json"])
        return int(left.value.code or 0)

    assert called(*words) == 2
    assert "pass `--into FOLDER`" in capsys.readouterr().err
    assert called(*words, *into) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["model"] == str(tmp_path / "ours") and said["parameters"] > 0
    assert called(*words, *into) == 2  # never over another one unasked
    store = extract_locally(recipe)
    found, _ = evaluate_model_dir(tmp_path / "ours", "validation", [], None)
    assert len(found.predictions) == len(store.get_records("validation"))
    assert found.scores["token_loss"] > 0
