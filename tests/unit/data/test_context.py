"""Sentences before a clip: the right ones, only those that precede it, the model's own in order."""

from collections.abc import Sequence
from typing import Any

import pytest

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.config.recipe.prompt import ContextConfig, PromptConfig, PromptSettings
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.data.context import DocumentContext, get_first_references
from kinesweep.data.evaluation import build_eval_batches
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.store.format.index import ClipRecord
from records import memory_store

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven"]


def clip(document: str, order: int, split: str = "validation", corpus: str = "") -> ClipRecord:
    """Clip `b2` says "two of b"; 3 frames and one more for each place."""
    made = Clip(
        id=f"{corpus}{document or '-'}{order}",
        split=split,
        media="",
        texts=(f"{WORDS[order]} of {document or 'none'}",),
        document=document,
        order=order,
        corpus=corpus,
    )
    return ClipRecord(made, {"pose": 3 + order})


def document(name: str, count: int, split: str = "validation") -> list[ClipRecord]:
    return [clip(name, order, split) for order in range(count)]


@pytest.fixture(scope="module")
def text() -> TextTokenizer:
    every = [r for name in "abc" for r in document(name, 8, "train")] + [clip("", 0)]
    return build_tokenizer(
        TrainedTokenizerConfig(algorithm="word", size=64), every, None, ["Before:"]
    )


def prompt_settings(prompt: str = "", **context: Any) -> PromptSettings:
    return PromptSettings(PromptConfig(context=prompt), ContextConfig(**context))


def prompts(text: TextTokenizer, batches: Any) -> dict[str, str]:
    """Clip id → what stands before its frames."""
    found = {}
    for batch in batches:
        for row, clip_id in enumerate(batch.clip_ids):
            ids = batch.prompt_ids_BP[row][batch.prompt_mask_BP[row]].tolist()
            found[clip_id] = text.decode(ids)
    return found


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({}, []),
        ({"window": 2}, ["b3", "b4"]),
        ({"document_start": 2}, ["b0", "b1"]),
        ({"window": 2, "document_start": 1}, ["b0", "b3", "b4"]),
        ({"window": 4, "document_start": 3}, ["b0", "b1", "b2", "b3", "b4"]),
        ({"window": 100}, ["b0", "b1", "b2", "b3", "b4"]),
        ({"document_start": 100}, ["b0", "b1", "b2", "b3", "b4"]),
    ],
)
def test_what_precedes_a_clip(config: dict[str, int], wanted: list[str]) -> None:
    mixed = document("b", 8)[::-1] + document("a", 8)
    context = DocumentContext(mixed, ContextConfig(**config))
    assert list(context.get_context_ids(clip("b", 5))) == wanted
    assert context.get_context_ids(clip("b", 0)) == ()


def test_documents_end_where_they_end() -> None:
    """Not across documents, nor across corpora that name documents alike, nor without one."""
    records = [*document("a", 3), clip("a", 0, corpus="x"), clip("a", 1, corpus="x")]
    context = DocumentContext([*records, clip("", 0), clip("", 1)], ContextConfig(window=9))
    assert context.get_context_ids(records[2]) == ("a0", "a1")
    assert context.get_context_ids(records[4]) == ("xa0",)
    assert context.get_context_ids(clip("", 1)) == ()


def test_places_follow_the_order_and_not_the_list() -> None:
    gaps = [clip("a", order) for order in (6, 1, 4)]
    context = DocumentContext(gaps, ContextConfig(window=1))
    assert [context.get_position(record) for record in gaps] == [2, 0, 1]
    assert context.get_sentences(gaps[0], get_first_references(gaps)) == ("four of a",)


def test_training_reads_the_references(text: TextTokenizer) -> None:
    stream = TrainDataset(
        memory_store(*document("a", 3, "train"), clip("", 0, "train")),
        text,
        BatchConfig(batch_size=4),
        seed=1,
        prompt_settings=prompt_settings("Before:", window=1),
    )
    assert prompts(text, [stream[0]]) == {
        "a0": "",
        "a1": "Before: zero of a",
        "a2": "Before: one of a",
        "-0": "",
    }


def test_a_clip_that_limits_leave_out_still_speaks_to_the_next(text: TextTokenizer) -> None:
    """Its reference is known, whatever its length."""
    records = document("a", 3, "train")
    config = BatchConfig(batch_size=4, min_clip_frames=5)  # a0 and a1 have 3 and 4
    stream = TrainDataset(
        memory_store(*records), text, config, 1, prompt_settings=prompt_settings(window=2)
    )
    assert prompts(text, [stream[0]]) == {"a2": "zero of a one of a"}


@pytest.mark.parametrize(
    ("room", "said"), [(None, "zero of a one of a two of a"), (7, "one of a two of a"), (2, "")]
)
def test_far_sentences_give_way(text: TextTokenizer, room: int | None, said: str) -> None:
    ask = prompt_settings(window=3, max_tokens=room, decoding_context="references")
    batches = build_eval_batches(
        memory_store(*document("a", 4)), "validation", text, 100, prompt_settings=ask
    )
    assert prompts(text, batches)["a3"] == said


def test_none_gold_and_prepared(text: TextTokenizer) -> None:
    held = memory_store(*document("a", 2))

    def read(**more: Any) -> dict[str, str]:
        ask = prompt_settings("Before:", window=1, **more.pop("context", {}))
        ask = PromptSettings(ask.prompt, ask.context, more.get("prepared", {}))
        return prompts(text, build_eval_batches(held, "validation", text, 100, prompt_settings=ask))

    assert read(context={"decoding_context": "none"})["a1"] == ""
    assert read(context={"decoding_context": "references"})["a1"] == "Before: zero of a"
    given = {"decoding_context": "file", "predictions": {"validation": "p.tsv"}}
    assert read(context=given, prepared={"a0": "seven of a"})["a1"] == "Before: seven of a"
    assert read(context=given, prepared={"a0": " "})["a1"] == ""
    with pytest.raises(InputError, match=r"`a1` has clip `a0` as context.*has no sentence"):
        read(context=given, prepared={"a1": "one of a"})


@pytest.mark.parametrize("how", ["references", "file"])
def test_a_few_clips_have_the_context_that_all_have(text: TextTokenizer, how: str) -> None:
    """A clip that is not scored during training still precedes the next."""
    held = memory_store(*document("a", 4))
    given = {"predictions": {"validation": "p.tsv"}} if how == "file" else {}
    ask = prompt_settings("Before:", window=1, decoding_context=how, **given)
    ask = PromptSettings(
        ask.prompt,
        ask.context,
        get_first_references(held.get_records("validation")) if given else {},
    )
    every = prompts(text, build_eval_batches(held, "validation", text, 100, prompt_settings=ask))
    few = prompts(text, build_eval_batches(held, "validation", text, 100, 2, prompt_settings=ask))
    assert few == {name: every[name] for name in ("a0", "a2")} and every["a2"] == "Before: one of a"


def spoken(
    text: TextTokenizer, batches: Sequence[Any], said: dict[str, str]
) -> list[tuple[dict[str, str], dict[str, str]]]:
    """Each wave's prompts, when every clip is answered by its id's last letter in words."""
    waves = []
    for wave in batches.waves:
        here = prompts(text, [batches.get_batch_with_context(index, said) for index in wave])
        said |= {clip_id: WORDS[7 - int(clip_id[-1])] for clip_id in here}
        waves.append(here)
    return waves


def test_a_models_own_sentences_come_in_waves(text: TextTokenizer) -> None:
    held = memory_store(*document("a", 3), *document("b", 2), clip("", 0))
    ask = prompt_settings(window=2)  # unasked: it is what a model has in use
    batches = build_eval_batches(held, "validation", text, 1000, prompt_settings=ask)
    assert spoken(text, batches, {}) == [
        {"a0": "", "b0": "", "-0": ""},
        {"a1": "seven", "b1": "seven"},
        {"a2": "seven six"},
    ]
    taught = prompts(text, batches)
    assert taught["a2"] == "zero of a one of a"


def test_waves_of_ranks_are_waves_of_the_whole(text: TextTokenizer) -> None:
    held = memory_store(*document("a", 4), *document("b", 3), *document("c", 1))
    ask = prompt_settings(window=1, decoding_context="model")

    def waves(rank: int, world: int) -> list[set[str]]:
        found = build_eval_batches(
            held, "validation", text, 4, rank=rank, world_size=world, prompt_settings=ask
        )
        return [
            set(wave)
            for wave in spoken(text, found, {f"{d}{n}": "x" for d in "abc" for n in range(4)})
        ]

    whole = waves(0, 1)
    assert whole == [{"a0", "b0", "c0"}, {"a1", "b1"}, {"a2", "b2"}, {"a3"}]
    parts = [waves(rank, 3) for rank in range(3)]
    assert [set().union(*wave) for wave in zip(*parts, strict=True)] == whole


def test_some_clips_are_whole_documents_when_they_read_their_own(text: TextTokenizer) -> None:
    held = memory_store(*[r for name in "abc" for r in document(name, 4)])
    ask = prompt_settings(window=1, decoding_context="model")
    batches = build_eval_batches(held, "validation", text, 1000, max_clips=4, prompt_settings=ask)
    ids = {i for batch in batches for i in batch.clip_ids}
    assert ids == {"a0", "a1", "a2", "a3"}
    gold_ask = prompt_settings(window=1, decoding_context="references")
    spread = build_eval_batches(
        held, "validation", text, 1000, max_clips=4, prompt_settings=gold_ask
    )
    assert {i for batch in spread for i in batch.clip_ids} == {"a0", "a3", "b2", "c1"}
    assert prompts(text, spread)["c1"] == "zero of c"


def test_prepared_and_its_tables_belong_together() -> None:
    for wrong in ({"decoding_context": "file"}, {"predictions": {"test": "p.tsv"}}):
        with pytest.raises(ValueError, match="belong together"):
            ContextConfig(**wrong)
