"""A clip's text and tokens on the page are those that the model writes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.checkpoints.model_dir import LoadedModel, read_model_folder
from kinesweep.config.recipe import Recipe
from kinesweep.data.collate import BatchItem, collate
from kinesweep.evaluation.attention_inference import (
    TranslationWithAttention,
    build_item,
    translate_with_attention,
)
from kinesweep.evaluation.evaluate import evaluate_loaded_model
from kinesweep.store import Store
from kinesweep.training.loop.run import write_initial_model
from tolerances import rounding

pytestmark = pytest.mark.integration

T5 = {"architecture": "t5", "d_model": 16, "num_layers": 2, "d_ff": 32, "num_heads": 2, "d_kv": 8}
LLAMA = {"architecture": "llama", "hidden_size": 16, "intermediate_size": 32}
LLAMA |= {"num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.3}
MODELS: dict[str, dict[str, Any]] = {
    "t5": {"kind": "seq2seq", "scratch": {**T5, "initializer_factor": 3.0}},
    "llama": {"kind": "causal", "scratch": LLAMA},
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_corpus(tmp_path_factory.mktemp("attending"), clips=24)


@pytest.fixture(scope="module", params=list(MODELS))
def made(
    request: pytest.FixtureRequest, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LoadedModel, Store]:
    """An untrained model: it writes nonsense, but always the same."""
    folder = tmp_path_factory.mktemp(request.param)
    model = {
        "backbone": MODELS[request.param],
        "tokenizer": {"kind": "train", "algorithm": "unigram", "size": 80},
    }
    recipe: Recipe = tiny_recipe(corpus, corpus.parent / "stores", model=model)
    store = tiny_store(recipe)
    write_initial_model(recipe, store, folder / "first")
    return read_model_folder(folder / "first"), store


def ids_of(loaded: LoadedModel, row: BatchItem) -> list[int]:
    """What the model generates, by itself."""
    batch = collate([row], loaded.tokenizer.vocabulary.pad_id)
    generation = loaded.recipe.generation
    return loaded.model.generate(
        **batch.get_generate_kwargs(),
        forced_ids=batch.forced_ids_BF,
        forced_mask=batch.forced_mask_BF,
        num_beams=generation.num_beams,
        max_new_tokens=generation.max_new_tokens,
    )[0].tolist()


def check(found: TranslationWithAttention) -> None:
    weights = found.attention.weights_AHLM
    assert weights.shape[2] == len(found.tokens)
    # The softmax's own sum and this one, each of as many terms as there are places.
    bound = rounding(2 * weights.shape[-1], 1)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]), atol=bound, rtol=0)


def test_the_text_is_that_of_an_evaluation(made: tuple[LoadedModel, Store]) -> None:
    loaded, store = made
    said = {
        p.clip_id: p.hypothesis
        for p in evaluate_loaded_model(loaded, store, "validation").predictions
    }
    for record in store.get_records("validation"):
        found = translate_with_attention(loaded, build_item(loaded, store, record))
        assert found.text == said[record.clip.id]
        check(found)


def test_tokens_are_those_that_were_generated(made: tuple[LoadedModel, Store]) -> None:
    loaded, store = made
    row = build_item(loaded, store, store.get_records("test")[0])
    ids = ids_of(loaded, row)
    found = translate_with_attention(loaded, row)
    count = len(found.tokens)
    assert [token.id for token in found.tokens] == ids[:count]
    end = loaded.tokenizer.vocabulary.eos_id
    assert count == len(ids) or (ids[count - 1] == end and end not in ids[: count - 1])
    pieces = loaded.tokenizer.tokenizer.convert_ids_to_tokens(ids[:count])
    for token, piece in zip(found.tokens, pieces, strict=True):
        assert token.text.strip() == (piece.replace("▁", " ").strip() or piece)
        assert token.text.startswith(" ") == piece.startswith("▁")
    assert not any(token.forced for token in found.tokens)


def test_a_forced_prompt_is_marked_and_comes_first(made: tuple[LoadedModel, Store]) -> None:
    loaded, store = made
    row = build_item(loaded, store, store.get_records("test")[0])
    some = tuple(loaded.tokenizer.encode_prompt("the cat"))
    forced = replace(row, tokens=replace(row.tokens, forced=some, prompt=some))
    found = translate_with_attention(loaded, forced)
    assert tuple(token.id for token in found.tokens[: len(some)]) == some
    assert [token.forced for token in found.tokens].count(True) == len(some)
    assert found.attention.spans[0].kind == "prompt"
    assert found.attention.spans[0].end == len(some)
    check(found)


def test_padding_behind_the_end_is_no_token(
    made: tuple[LoadedModel, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the end stands in for padding, too; a prompt that holds an end is kept whole."""
    loaded, store = made
    row = build_item(loaded, store, store.get_records("test")[0])
    end = loaded.tokenizer.vocabulary.eos_id
    written = torch.tensor([[end, 7, 8, end, end, end]])
    monkeypatch.setattr(loaded.model, "generate", lambda **_: written)
    forced = replace(row, tokens=replace(row.tokens, forced=(end, 7)))
    assert [token.id for token in translate_with_attention(loaded, forced).tokens] == [
        end,
        7,
        8,
        end,
    ]
    assert [token.id for token in translate_with_attention(loaded, row).tokens] == [end]


def test_labels_of_the_clip_do_not_count(made: tuple[LoadedModel, Store]) -> None:
    """What is shown is of the model's own words, not of the reference."""
    loaded, store = made
    row = build_item(loaded, store, store.get_records("test")[0])
    other = replace(row, tokens=replace(row.tokens, labels=(5, 6, 7)))
    one, two = translate_with_attention(loaded, row), translate_with_attention(loaded, other)
    assert one.tokens == two.tokens
    assert torch.equal(one.attention.weights_AHLM, two.attention.weights_AHLM)


def test_frames_beyond_the_recipes_limit_are_not_there(
    made: tuple[LoadedModel, Store], tmp_path: Path
) -> None:
    loaded, store = made
    plain = yaml.safe_load(yaml.safe_dump(loaded.recipe.model_dump(mode="json")))
    plain["batch"]["truncate_frames"] = {"pose": 3}
    short = replace(loaded, recipe=Recipe.model_validate(plain))
    record = max(store.get_records("test"), key=lambda r: r.lengths["pose"])
    (stream,) = [
        place
        for place in translate_with_attention(
            short, build_item(short, store, record)
        ).attention.spans
        if place.kind == "stream"
    ]
    assert [one.end for one in stream.source_spans] == [1, 2, 3]
