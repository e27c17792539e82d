"""Questions of an evaluation: the same for every model, right, balanced, and about real frames."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.config.recipe.prompt import (
    ContextConfig,
    PromptConfig,
    PromptSettings,
    TaskEvaluationConfig,
    TasksConfig,
)
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.data.task_sampling import ExampleSampler, collect_prompt_texts
from kinesweep.data.tasks.task_batches import TaskData, build_task_batches, build_task_questions
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.store.format.index import ClipRecord
from records import memory_store

WORDS = ["rain", "snow", "wind", "sun", "cloud", "storm", "frost", "fog"]


def record(number: int, split: str = "validation", words: int = 2) -> ClipRecord:
    keywords = tuple(WORDS[(number + 3 * n) % 8] for n in range(words))
    clip = Clip(
        id=f"c{number:03d}",
        split=split,
        media="",
        texts=(f"text {' '.join(keywords)}",),
        keywords=keywords,
        document=f"d{number // 5}",
        order=number % 5,
    )
    return ClipRecord(clip, {"pose": 3 + number % 4})


def counting(record_: ClipRecord) -> dict[str, Any]:
    """Frames that are numbered from 1."""
    return {
        name: np.arange(1, length + 1, dtype=np.float32)[:, None].repeat(2, axis=1)
        for name, length in record_.lengths.items()
    }


ALL = TasksConfig(word_present=1, which_words=1, reversed=1)
RECORDS = [record(n) for n in range(200)]


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    texts = collect_prompt_texts(PromptConfig(), ALL, RECORDS)
    return build_tokenizer(TrainedTokenizerConfig(algorithm="word", size=200), RECORDS, None, texts)


def data(tokenizer: Any, *records: ClipRecord, batch: Any = None, **context: Any) -> TaskData:
    settings = PromptSettings(PromptConfig(), ContextConfig(**context))
    store = memory_store(*(records or RECORDS), features=counting)
    return TaskData(store, "validation", tokenizer, settings, 64, batch)


def ask(task: str, data_: TaskData, **config: Any) -> Any:
    return build_task_questions(task, TaskEvaluationConfig(**config), data_)


def test_questions_follow_seed_and_clip(tokenizer: TextTokenizer) -> None:
    whole = ask("word_present", data(tokenizer)).examples
    assert ask("word_present", data(tokenizer)).examples == whole
    assert ask("word_present", data(tokenizer), seed=1).examples != whole
    # The words of other clips are still those of the split, the draws are those of the clip.
    few = ask("word_present", data(tokenizer, *RECORDS[50:150])).examples
    assert few == {name: whole[name] for name in few}


def test_answers_are_balanced_and_right(tokenizer: TextTokenizer) -> None:
    for task in ("word_present", "reversed"):
        examples = ask(task, data(tokenizer)).examples
        yes = sum(example.answer == "yes" for example in examples.values())
        assert 75 <= yes <= 125, (task, yes)  # four standard deviations are 28
    lists = ask("which_words", data(tokenizer)).examples
    for record_ in RECORDS:
        own, example = set(record_.clip.keywords), lists[record_.clip.id]
        assert len(set(example.choices)) == 4
        assert set(example.answer.split(", ")) == own & set(example.choices)


def test_training_asks_the_same_questions(tokenizer: TextTokenizer) -> None:
    """Both come from one builder, so texts and shapes of the questions agree."""
    config = BatchConfig(tasks=ALL)
    sampler = ExampleSampler(RECORDS, config, PromptConfig(), 1)
    trained = {sampler.get_example(i, e).question for i in range(200) for e in range(40)}
    asked = {example.question for example in ask("word_present", data(tokenizer)).examples.values()}
    assert asked <= trained


def test_reversed_clips_really_run_backwards(tokenizer: TextTokenizer) -> None:
    data_ = data(tokenizer, batch=BatchConfig(truncate_frames={"pose": 4}))
    questions = ask("reversed", data_)
    batches = build_task_batches(questions, data_, {})
    seen = 0
    for batch in batches:
        for row, clip_id in enumerate(batch.clip_ids):
            frames = batch.streams["pose"][row, batch.frame_masks["pose"][row], 0].tolist()
            forwards = [1.0, 2.0, 3.0, 4.0][: len(frames)]
            backwards = questions.examples[clip_id].is_reversed
            assert frames == (forwards[::-1] if backwards else forwards)
            answer = questions.examples[clip_id].answer
            assert answer == ("yes" if backwards else "no")
            seen += 1
    assert seen == 200


def test_ranks_share_the_batches(tokenizer: TextTokenizer) -> None:
    data_ = data(tokenizer)
    questions = ask("which_words", data_, max_clips=50)
    whole = build_task_batches(questions, data_, {})
    ranks = [build_task_batches(questions, data_, {}, rank, 2) for rank in range(2)]
    shared = [list(rank) for rank in ranks]
    for index, batch in enumerate(whole):
        other = shared[index % 2][index // 2]
        assert batch.clip_ids == other.clip_ids
        assert torch.equal(batch.prompt_ids_BP, other.prompt_ids_BP)
    assert (
        sum(batch.num_clips for batch in whole)
        == 50
        == len({clip for batch in whole for clip in batch.clip_ids})
    )


def test_questions_are_asked_as_in_training(tokenizer: TextTokenizer) -> None:
    """Prompt and label of a question equal those of the same question in a training batch."""
    records = [replace(r, clip=replace(r.clip, split="train")) for r in RECORDS[:20]]
    config = BatchConfig(batch_size=1, tasks=ALL)
    context = ContextConfig(window=1, decoding_context="references")
    settings = PromptSettings(PromptConfig(), context)
    store = memory_store(*records, features=counting)
    dataset = TrainDataset(store, tokenizer, config, 1, prompt_settings=settings)
    trained = {}
    for position in range(400):
        batch = dataset[position]
        key = (batch.clip_ids[0], tuple(batch.labels_BL[0].tolist()))
        trained.setdefault(key, set()).add(tuple(batch.prompt_ids_BP[0].tolist()))
    data_ = data(tokenizer, *RECORDS[:20], window=1, decoding_context="references")
    batches = build_task_batches(ask("reversed", data_), data_, {})
    matches = 0
    for batch in batches:
        for row, clip_id in enumerate(batch.clip_ids):
            key = (clip_id, tuple(i for i in batch.labels_BL[row].tolist() if i >= 0))
            prompt = tuple(batch.prompt_ids_BP[row][batch.prompt_mask_BP[row]].tolist())
            matches += prompt in trained.get(key, ())
    assert matches >= 15


@pytest.mark.parametrize("source", ["none", "references", "model"])
def test_context_of_a_question(tokenizer: TextTokenizer, source: str) -> None:
    data_ = data(tokenizer, *RECORDS[:10], window=1, decoding_context=source)
    assert data_.needs_translations == (source == "model")
    said = {record_.clip.id: "frost" for record_ in RECORDS[:5]}  # one of two documents
    batches = build_task_batches(ask("reversed", data_), data_, said)
    prompts = {
        clip_id: tokenizer.tokenizer.decode(batch.prompt_ids_BP[row][batch.prompt_mask_BP[row]])
        for batch in batches
        for row, clip_id in enumerate(batch.clip_ids)
    }
    assert len(prompts) == (5 if source == "model" else 10)
    assert prompts["c000"].strip().startswith("Does it run")  # the first has no context
    expected = {"none": "Does", "references": "text rain", "model": "frost Does"}[source]
    assert prompts["c001"].strip().startswith(expected)


def test_clips_without_words_are_counted(tokenizer: TextTokenizer) -> None:
    data_ = data(tokenizer, *RECORDS[:30], record(900, words=0))
    questions = ask("which_words", data_)
    assert questions.num_without_words == 1 and "c900" not in questions.examples
    assert ask("reversed", data_).num_without_words == 0


def test_too_few_words_are_an_error(tokenizer: TextTokenizer) -> None:
    with pytest.raises(InputError, match=r"have only 2 \(at least 4"):
        ask("word_present", data(tokenizer, RECORDS[0]))
