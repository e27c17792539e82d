"""Streams of token ids in a model: shared embeddings are the backbone's, and ids stay whole."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpus import tiny_store
from kinesweep.config.loading import validate_config
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.core.errors import ConfigError
from kinesweep.data.collate import BatchItem, ClipTokens, collate
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.data.tokenizer import train_tokenizer
from kinesweep.features.augmentation import build_augmentation
from kinesweep.models.encoders.token_streams import prepare_streams
from kinesweep.models.encoders.tokens import TokensEncoder
from kinesweep.store.inspect.statistics import compute_frame_statistics
from kinesweep.training.loop.components import build_components
from written import texts, written_recipe

LARGE_ID = 250_001
"""An id that neither half precision nor bfloat16 can hold."""


def save_tokenizer(folder: Path, more: tuple[str, ...] = ()) -> Path:
    config = TrainedTokenizerConfig(kind="train", algorithm="word", size=96)
    sentences = [*texts(10), *(f"This is sentence {n}." for n in range(4)), *more]
    TextTokenizer(train_tokenizer(config, sentences, [])).save(folder)
    return folder


def shared_recipe(folder: Path, tokenizer: dict[str, Any], **encoder: Any) -> Recipe:
    """A recipe whose encoder shares the embeddings of a backbone with the tokenizer in `own`."""
    return written_recipe(
        folder,
        "text_tsv",
        texts(10),
        features={"kind": "text", "tokenizer": tokenizer},
        model={
            "encoder": {"kind": "tokens", "embeddings": "backbone", **encoder},
            "tokenizer": {"kind": "folder", "path": str(save_tokenizer(folder / "own"))},
        },
    )


def test_shared_embeddings_are_those_of_the_backbone(tmp_path: Path) -> None:
    recipe = shared_recipe(tmp_path, {"kind": "pretrained", "path": str(tmp_path / "own")})
    store = tiny_store(recipe)
    model = build_components(recipe, store).model.eval()
    ids_T1 = store.get_features(store.get_records("train")[3])["text"]
    ids_BT1 = torch.from_numpy(np.asarray(ids_T1, np.int64))[None]
    mask_BT = torch.ones(ids_BT1.shape[:2], dtype=torch.bool)
    found_BNE, _ = model.build_inputs_embeds({"text": ids_BT1}, {"text": mask_BT})
    ops = model._backbone_ops
    expected_BTE = ops.embed_tokens(model.backbone, ids_BT1[..., 0])
    torch.testing.assert_close(found_BNE[:, : len(ids_T1)], expected_BTE, rtol=0, atol=0)
    assert not any("encoders.text.embedding" in name for name in model.state_dict())


@pytest.mark.parametrize("kind", ["other words", "bytes"])
def test_other_tokens_than_the_backbones_are_refused(tmp_path: Path, kind: str) -> None:
    other = {"kind": "pretrained", "path": str(save_tokenizer(tmp_path / "other", ("aa bb",)))}
    tokenizer = {"kind": "bytes"} if kind == "bytes" else other
    recipe = shared_recipe(tmp_path, tokenizer)
    with pytest.raises(ConfigError, match=r"model\.encoder\.embeddings.*are not those of the"):
        build_components(recipe, tiny_store(recipe))


def test_new_tokens_of_the_model_may_follow_those_of_the_stream(tmp_path: Path) -> None:
    recipe = shared_recipe(tmp_path, {"kind": "pretrained", "path": str(tmp_path / "own")})
    plain = recipe.model_dump(mode="json")
    plain["model"]["tokenizer"]["new_tokens"] = ["__gsg__"]
    recipe = validate_config(Recipe, plain, "test")
    store = tiny_store(recipe)
    num_words = build_components(recipe, store).model.get_input_embeddings().num_embeddings
    # The model has the token of its own, and the tokens of the stream keep their ids before it.
    vocabulary = store.schema.streams["text"].vocabulary
    assert vocabulary is not None and num_words > vocabulary.size


def test_ids_stay_whole_in_half_precision() -> None:
    ids_BT1 = torch.tensor([[[LARGE_ID], [7]]])
    streams = {"text": ids_BT1, "pose": torch.ones(1, 2, 3)}
    prepared = prepare_streams(streams, torch.nn.ModuleDict(), torch.zeros_like, torch.bfloat16)
    assert prepared["pose"].dtype == torch.bfloat16
    # As lists: `torch.equal` would round both to the smaller type.
    assert prepared["text"].tolist() == ids_BT1.tolist()


def test_a_batch_holds_whole_numbers() -> None:
    tokens = ClipTokens((), (), (1,))
    items = [
        BatchItem("a", {"text": np.array([[LARGE_ID], [3]], np.int32)}, tokens),
        BatchItem("b", {"text": np.array([[5]], np.int32)}, tokens),
    ]
    x_BT1 = collate(items, 0).streams["text"]
    assert x_BT1.dtype == torch.int64
    assert x_BT1.tolist() == [[[LARGE_ID], [3]], [[5], [0]]]
    assert not collate(items, 0, zero_features=True).streams["text"].any()


def test_augmented_ids_are_ids_of_the_clip(tmp_path: Path) -> None:
    recipe = written_recipe(
        tmp_path, "text_tsv", texts(10), batch={"augmentation": {"drop_frames": 0.5}}
    )
    store = tiny_store(recipe)
    augment = build_augmentation(recipe.batch.augmentation, store.schema, 0, 100)
    record = store.get_records("train")[0]
    before = store.get_features(record)["text"]
    after = augment({"text": before}, record.clip.id, 0)["text"]
    assert after.dtype == np.int32 and len(after) == round(len(before) / 2)
    assert set(after[:, 0]) <= set(before[:, 0])
    assert compute_frame_statistics(store) == {}


def test_norm_and_dropout_are_those_of_the_recipe() -> None:
    from kinesweep.config.recipe.model.encoders import TokensEncoderConfig as Config

    assert isinstance(TokensEncoder(Config(), 5, 4).norm_out, torch.nn.LayerNorm)
    shared = TokensEncoder(Config(embeddings="backbone"), 5, 4)
    assert isinstance(shared.norm_out, torch.nn.Identity) and not list(shared.parameters())
    assert TokensEncoder(Config(dropout=0.5), 5, 4).dropout.p == 0.5


@pytest.mark.parametrize(
    ("features", "encoder", "message"),
    [
        ({"kind": "text"}, {"kind": "linear"}, "token ids need an encoder of kind tokens"),
        (
            {"kind": "images", "encoder": {"kind": "hf_vision", "pretrained": "x"}},
            {"kind": "tokens"},
            "holds features of kind images",
        ),
        ({"kind": "text", "tokenizer": {"kind": "fsw"}}, {"kind": "tokens"}, "signwriting_tsv"),
        ({"kind": "pose"}, {"kind": "linear"}, "`features.kind: text or images`, not pose"),
        ({"kind": "images", "size": 16}, {"kind": "linear"}, "set `model.vision`"),
    ],
)
def test_recipes_that_do_not_fit(tmp_path: Path, features: Any, encoder: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        written_recipe(
            tmp_path, "text_tsv", texts(4), features=features, model={"encoder": encoder}
        )


def test_show_names_tokens_instead_of_seconds(tmp_path: Path) -> None:
    from rich.console import Console

    from kinesweep.store.inspect.show import describe_store

    store = tiny_store(written_recipe(tmp_path, "text_tsv", texts(10)))
    console = Console(width=200, record=True, file=__import__("io").StringIO())
    console.print(describe_store(store))
    console.print(describe_store(store, "train-2"))
    shown = console.export_text()
    assert "int32, ids of 256 tokens (bytes)" in shown
    assert "text: 7 tokens: 114 97 105 110 32 105 110" in shown  # "rain in"
    assert "Hz" not in shown


@pytest.mark.parametrize(
    ("features", "augmentation"),
    [
        ({"kind": "text"}, {"noise": 0.1}),
        ({"kind": "text"}, {"mirror": 0.5}),
        (
            {"kind": "images", "encoder": {"kind": "hf_vision", "pretrained": "x"}},
            {"rotation_deg": 5},
        ),
    ],
)
def test_what_has_no_points_is_not_moved(tmp_path: Path, features: Any, augmentation: Any) -> None:
    model = {} if features["kind"] == "text" else {"encoder": {"kind": "linear"}}
    with pytest.raises(ConfigError, match=r"which `features\.kind: (text|images)` does not have"):
        written_recipe(
            tmp_path,
            "text_tsv",
            texts(4),
            features=features,
            model=model,
            batch={"augmentation": augmentation},
        )


def test_the_type_of_ids_and_pixels_is_not_that_of_the_store(tmp_path: Path) -> None:
    from kinesweep.store.extraction.corpus_scan import ExtractionSpec, scan_corpus

    found = set()
    for dtype in ("float16", "float32"):
        recipe = written_recipe(tmp_path, "text_tsv", texts(4), store={"dtype": dtype})
        extraction = ExtractionSpec.from_recipe(recipe)
        found.add((extraction.dtype, scan_corpus(extraction).fingerprint))
    ((dtype, _),) = found
    assert dtype == "int32"
