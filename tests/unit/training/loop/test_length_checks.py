"""What cannot fit is found before the first step: exactly what would end a run at its batch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus import tiny_recipe
from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.model import ModelConfig, TrainedTokenizerConfig
from kinesweep.config.recipe.prompt import ContextConfig, PromptConfig, PromptSettings
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.seeds import seed_everything
from kinesweep.data.evaluation import build_eval_batches
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.models import Translator, build_translator
from kinesweep.store import Store
from kinesweep.store.format.index import ClipRecord
from kinesweep.training.loop.length_checks import check_clips_fit_model, iter_tokenized_clips
from kinesweep.training.loop.run import RunSpec, train_run
from records import memory_store

LLAMA = {
    "architecture": "llama",
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
BART = {
    "architecture": "bart",
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
}
KINDS = {"llama": "causal", "bart": "seq2seq"}


def record(name: str, num_words: int, split: str = "train", **more: Any) -> ClipRecord:
    """One frame of two streams; its text has so many words, and an end."""
    texts = more.pop("texts", (" ".join(["word"] * num_words),))
    clip = Clip(name, split, "", texts=texts, row=f"{split}.tsv:{name}", **more)
    return ClipRecord(clip, {"pose": 1, "dino": 1})


@pytest.fixture(scope="module")
def text() -> TextTokenizer:
    config = TrainedTokenizerConfig(algorithm="word", size=32)
    return build_tokenizer(config, [record("1", 1)], None, ["what before"])


def model_of(
    text: TextTokenizer, backbone: dict[str, Any], positions: int, **more: Any
) -> Translator:
    scratch = {**backbone, "max_position_embeddings": positions}
    plain = {"backbone": {"kind": KINDS[backbone["architecture"]], "scratch": scratch}, **more}
    seed_everything(1)
    widths = {"pose": 2, "dino": 2}
    return build_translator(ModelConfig.model_validate(plain), widths, text.vocabulary).eval()


def refused(
    model: Translator, text: TextTokenizer, prompt_settings: PromptSettings, *records: ClipRecord
) -> str:
    """What is said of these clips of train; empty if they fit."""
    stream = TrainDataset(
        memory_store(*records), text, BatchConfig(batch_size=1), 1, prompt_settings=prompt_settings
    )
    try:
        check_clips_fit_model(model, [("train", *pair) for pair in stream.iter_tokens()])
    except InputError as error:
        return str(error)
    return ""


def fails(
    model: Translator, text: TextTokenizer, prompt_settings: PromptSettings, one: ClipRecord
) -> bool:
    """Whether the clip's batch ends a run."""
    store = memory_store(replace(one, clip=replace(one.clip, split="validation")))
    (batch,) = build_eval_batches(store, "validation", text, 9, prompt_settings=prompt_settings)
    try:
        model.compute_token_sums(batch)
    except InputError:
        return True
    return False


@pytest.mark.parametrize("backbone", [LLAMA, BART])
@pytest.mark.parametrize("reserve", [None, 5])
@pytest.mark.parametrize("fusion", [{}, {"separators": True}, {"kind": "channel"}])
def test_it_refuses_what_would_fail_and_nothing_else(
    text: TextTokenizer, backbone: dict[str, Any], reserve: int | None, fusion: dict[str, Any]
) -> None:
    model = model_of(text, backbone, 9, reserved_text_tokens=reserve, fusion=fusion)
    found = set()
    for num_asked in range(9):
        prompt_settings = PromptSettings(PromptConfig(question=" ".join(["what"] * num_asked)))
        for num_words in range(1, 11):
            one = record("1", num_words)
            wrong = fails(model, text, prompt_settings, one)
            assert bool(refused(model, text, prompt_settings, one)) == wrong, (num_asked, num_words)
            found.add(wrong)
    assert found == {True, False}


def test_the_worst_is_named_with_what_to_do(text: TextTokenizer) -> None:
    model = model_of(text, LLAMA, 30, reserved_text_tokens=5)
    said = refused(model, text, PromptSettings(), *(record(str(n), n) for n in (2, 7, 9, 4)))
    assert said == (
        "Texts or prompts of clips do not fit (2 of train). Clip `9` (train, train.tsv:9) has a"
        " text of 10 tokens, including its decoder prompt and the end of the sentence, but"
        " `model.reserved_text_tokens` has room for 5. Set it to 10 or more, or remove such clips"
        " from the corpus."
    )


def test_every_text_that_may_be_drawn_counts(text: TextTokenizer) -> None:
    model = model_of(text, LLAMA, 30, reserved_text_tokens=5)
    both = record("1", 0, texts=("word", " ".join(["word"] * 6)))
    for reference_choice in ("first", "random", "each", "min_loss"):
        config = BatchConfig(batch_size=1, reference_choice=reference_choice)
        asked = [
            ("train", *p) for p in TrainDataset(memory_store(both), text, config, 1).iter_tokens()
        ]
        if reference_choice != "first":
            with pytest.raises(InputError, match="text of 7 tokens"):
                check_clips_fit_model(model, asked)
        else:
            check_clips_fit_model(model, asked)


def test_context_counts(text: TextTokenizer) -> None:
    model = model_of(text, LLAMA, 14, reserved_text_tokens=6)
    documents = [record(str(n), 4, document="a", order=n) for n in range(3)]
    assert refused(model, text, PromptSettings(context=ContextConfig(window=1)), *documents) == ""
    said = refused(model, text, PromptSettings(context=ContextConfig(window=2)), *documents)
    assert "Clip `2` (train, train.tsv:2) takes 16 of the backbone's 14 positions" in said
    capped = ContextConfig(window=2, max_tokens=4)
    assert refused(model, text, PromptSettings(context=capped), *documents) == ""


def test_without_a_limit_nothing_is_counted(text: TextTokenizer) -> None:
    t5 = {"architecture": "t5", "d_model": 16, "num_layers": 1, "d_ff": 16, "num_heads": 2}
    widths = {"pose": 2, "dino": 2}
    config = ModelConfig.model_validate({"backbone": {"kind": "seq2seq", "scratch": t5}})
    model = build_translator(config, widths, text.vocabulary)

    def asked() -> Any:
        raise AssertionError("tokens were counted")
        yield

    check_clips_fit_model(model, asked())


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_split_counts(corpus: Path, store: Store, split: str) -> None:
    """Test too, which is scored last of all; no frames are read."""
    recipe = causal(corpus, store, 99)
    most = longest(recipe, store)
    ordinary = max(count for name, count in most.items() if name != split)
    long = " ".join(["the"] * (ordinary + 5))
    spoilt = memory_store_of(store, split, long)
    stream = TrainDataset(
        spoilt, text_of(recipe, store), recipe.batch, 1, prompt_settings=recipe.prompt_settings
    )
    asked = list(
        iter_tokenized_clips(
            spoilt,
            text_of(recipe, store),
            stream,
            recipe.prompt_settings,
            recipe.effective_batch,
            recipe.evaluation.max_frames,
        )
    )
    assert {name for name, _, _ in asked} == {"train", "validation", "test"}
    model = causal_model(recipe, store, ordinary + 1)
    with pytest.raises(InputError, match=rf"\(1 of {split}\)"):
        check_clips_fit_model(model, asked)


def test_training_begins_only_if_all_fits(corpus: Path, store: Store, tmp_path: Path) -> None:
    recipe = causal(corpus, store, 12)
    assert max(longest(recipe, store).values()) > 12
    reported: list[dict[str, float]] = []
    spec = RunSpec(recipe, store.folder, tmp_path / "run")
    with pytest.raises(
        InputError, match=r"`model\.reserved_text_tokens` has room for 12\. Set it to"
    ):
        train_run(spec, NullRunLogger(), lambda metrics: bool(reported.append(metrics)) or True)
    assert not reported and not (tmp_path / "run" / "metrics.jsonl").exists()


def causal(corpus: Path, store: Store, reserve: int) -> Recipe:
    backbone = {"kind": "causal", "scratch": {**LLAMA, "max_position_embeddings": 256}}
    model = {"backbone": backbone, "reserved_text_tokens": reserve}
    return tiny_recipe(corpus, store.folder.parent, model=model)


def causal_model(recipe: Recipe, store: Store, reserve: int) -> Translator:
    config = recipe.model.model_copy(update={"reserved_text_tokens": reserve})
    vocabulary = text_of(recipe, store).vocabulary
    return build_translator(config, store.schema.widths, vocabulary)


def text_of(recipe: Recipe, store: Store) -> TextTokenizer:
    return build_tokenizer(recipe.model.tokenizer, store.get_records("train"), None)


def longest(recipe: Recipe, store: Store) -> dict[str, int]:
    """Split → tokens of its longest text."""
    text = text_of(recipe, store)
    return {
        split: max(
            len(text.encode_target(r.clip.decoder_prompt, r.clip.texts[0]))
            for r in store.get_records(split)
        )
        for split in store.splits
    }


def memory_store_of(store: Store, split: str, long: str) -> Any:
    """The same clips; the last one of a split says this, which no feature is read for."""
    records = {name: store.get_records(name) for name in store.splits}
    last = records[split][-1]
    records[split][-1] = replace(last, clip=replace(last.clip, texts=(long,)))
    made = memory_store(*(r for name in records for r in records[name]), features=_never)
    made.schema = store.schema
    return made


def _never(_: ClipRecord) -> dict[str, np.ndarray]:
    raise AssertionError("features were read")
