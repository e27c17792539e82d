"""What is asked of a clip: tasks in their shares, right answers, the references asked for."""

from collections import Counter

import numpy as np
import pytest

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.config.recipe.prompt import PromptConfig, PromptSettings, TasksConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.signed_words import get_signed_words
from kinesweep.data.task_sampling import ExampleSampler, collect_prompt_texts
from kinesweep.data.tasks.questions import Example
from kinesweep.data.text_tokenizer import build_tokenizer
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.store.format.index import ClipRecord
from records import memory_store

WORDS = ["Rain", "snow", "Wind", "sun", "cloud", "Storm", "frost", "fog"]


def record(number: int, *keywords: str, gloss: str = "", texts: int = 1) -> ClipRecord:
    said = tuple(f"text {number} {variant}" for variant in range(texts))
    clip = Clip(
        id=f"c{number}", split="train", media="", texts=said, keywords=keywords, gloss=gloss
    )
    return ClipRecord(clip, {"pose": 4})


CLIPS = [record(n, WORDS[n % 8], WORDS[(n + 3) % 8].upper()) for n in range(16)]


def examples(seed: int = 1, records: list[ClipRecord] = CLIPS, **config: object) -> ExampleSampler:
    plain = {"tasks": config.pop("tasks", {}), **config}
    return ExampleSampler(records, BatchConfig.model_validate(plain), PromptConfig(), seed)


def kind(example: Example) -> str:
    if example.question is None:
        return "translation"
    first = example.question.split()[0]
    return {"Is": "word_present", "Which": "which_words", "Does": "reversed"}[first]


MIXED = {"translation": 5, "word_present": 2, "which_words": 2, "reversed": 1}


def test_tasks_come_in_their_shares_and_follow_the_seed() -> None:
    made = examples(tasks=MIXED)
    drawn = [made.get_example(index, epoch) for epoch in range(250) for index in range(16)]
    shares = Counter(map(kind, drawn))
    for task, weight in MIXED.items():
        assert abs(shares[task] / len(drawn) - weight / 10) < 0.02, task
    again = examples(tasks=MIXED)
    assert [again.get_example(i, e) for e in range(3) for i in range(16)] == drawn[:48]
    other = examples(seed=2, tasks=MIXED)
    assert [other.get_example(i, e) for e in range(3) for i in range(16)] != drawn[:48]


def test_answers_are_right_whatever_the_case() -> None:
    """A predecessor compared words as written: "RAIN" was not "Rain"."""
    made = examples(tasks=MIXED)
    yes = Counter[str]()
    for epoch in range(60):
        for index, record_ in enumerate(CLIPS):
            example = made.get_example(index, epoch)
            own = {word.lower() for word in record_.clip.keywords}
            task = kind(example)
            if task == "word_present":
                word = (example.question or "").split('"')[1]
                assert example.answer == ("yes" if word.lower() in own else "no")
            if task == "which_words":
                shown = (example.question or "").partition(": ")[2].rstrip("?").split(", ")
                assert len(shown) == 4 == len({word.lower() for word in shown})
                assert example.answer.split(", ") == [w for w in shown if w.lower() in own]
            if task == "reversed":
                assert example.is_reversed == (example.answer == "yes")
            else:
                assert not example.is_reversed
            yes[f"{task} {example.answer}"] += task in ("word_present", "reversed")
    for task in ("word_present", "reversed"):
        both = yes[f"{task} yes"] + yes[f"{task} no"]
        assert 0.35 < yes[f"{task} yes"] / both < 0.65


def test_words_are_keywords_or_else_glosses_once() -> None:
    assert get_signed_words(record(0, "Rain", "rain", "snow").clip) == ("Rain", "snow")
    assert get_signed_words(record(0, gloss="REGEN NORD regen").clip) == ("REGEN", "NORD")
    with pytest.raises(InputError, match=r"have only 0 \(at least 4 are needed\)"):
        examples(records=[record(0)], tasks={"word_present": 1})
    assert kind(examples(records=[record(0)], tasks={"reversed": 1}).get_example(0, 0)) in (
        "reversed",
        "translation",
    )


def test_a_clip_without_words_is_translated() -> None:
    made = examples(records=[*CLIPS, record(99)], tasks={"translation": 1, "which_words": 99})
    assert {kind(made.get_example(16, epoch)) for epoch in range(20)} == {"translation"}


def test_references_are_first_random_or_each() -> None:
    records = [record(n, texts=1 + n) for n in range(3)]
    first = examples(records=records)
    assert [first.get_example(i, 0).answer for i in range(3)] == [
        "text 0 0",
        "text 1 0",
        "text 2 0",
    ]
    each = examples(records=records, reference_choice="each")
    assert [r.clip.id for r in each.records] == ["c0", "c1", "c1", "c2", "c2", "c2"]
    assert [each.get_example(i, 4).answer for i in range(6)] == [
        text for r in records for text in r.clip.texts
    ]
    drawn = examples(records=records, reference_choice="random")
    seen = Counter(drawn.get_example(2, epoch).answer for epoch in range(300))
    assert set(seen) == set(records[2].clip.texts)
    assert min(seen.values()) > 70
    assert not first.varies_by_epoch
    assert not each.varies_by_epoch
    assert drawn.varies_by_epoch


def test_all_references_come_where_the_closest_is_learnt() -> None:
    records = [record(n, texts=1 + n) for n in range(3)]
    closest = examples(records=records, reference_choice="min_loss")
    for index, its in enumerate(records):
        example = closest.get_example(index, 7)
        assert (example.answer, *example.other_answers) == its.clip.texts
    assert not closest.varies_by_epoch
    mixed = [record(n, WORDS[n], WORDS[n + 1], texts=3) for n in range(4)]
    asked = examples(records=mixed, reference_choice="min_loss", tasks={"which_words": 1})
    drawn = [asked.get_example(index, epoch) for epoch in range(9) for index in range(4)]
    assert {kind(e): len(e.other_answers) for e in drawn} == {"translation": 2, "which_words": 0}


def test_a_batch_has_the_labels_of_all_references() -> None:
    records = [record(n, texts=1 + 2 * (n % 2)) for n in range(4)]
    text = build_tokenizer(
        TrainedTokenizerConfig(algorithm="word", size=64), records, None, (), None, True
    )
    config = BatchConfig.model_validate({"batch_size": 4, "reference_choice": "min_loss"})
    batch = TrainDataset(memory_store(*records), text, config, seed=3)[0]
    assert batch.labels_BRL is not None and batch.labels_BRL.shape[:2] == (4, 3)
    texts = {r.clip.id: r.clip.texts for r in records}
    for clip_id, first_L, every_RL in zip(
        batch.clip_ids, batch.labels_BL, batch.labels_BRL, strict=True
    ):
        found = [text.decode(row[row >= 0]) for row in every_RL]
        assert found == [*texts[clip_id], *[""] * (3 - len(texts[clip_id]))]
        assert text.decode(first_L[first_L >= 0]) == texts[clip_id][0]
    moved = batch.to("meta")
    assert moved.labels_BRL is not None and moved.labels_BRL.is_meta
    plain = BatchConfig(batch_size=4)
    assert TrainDataset(memory_store(*records), text, plain, seed=3)[0].labels_BRL is None


def test_wrong_pairs_stay_wrong_with_paraphrases() -> None:
    records = [record(n, texts=2) for n in range(6)]
    for how in ("first", "random", "each", "min_loss"):
        made = examples(records=records, ablation="shuffled", reference_choice=how)
        for index, its in enumerate(made.records):
            answers = {made.get_example(index, epoch).answer for epoch in range(5)}
            assert len(answers) == 1
            assert not made.get_example(index, 0).other_answers
            assert not answers & set(its.clip.texts)
        assert not made.varies_by_epoch


@pytest.mark.parametrize("seed", range(20))
def test_a_clip_never_has_its_own_text_when_each_reference_is_shuffled(seed: int) -> None:
    """Two clips with many references are the hardest: most exchanges stay within a clip."""
    for counts in ((5, 5), (1, 4, 3), (2,) * 9, (3, 3, 1, 1)):
        records = [record(n, texts=count) for n, count in enumerate(counts)]
        config = BatchConfig(batch_size=4, ablation="shuffled", reference_choice="each")
        made = ExampleSampler(records, config, PromptConfig(), seed)
        answers = [made.get_example(index, 0).answer for index in range(sum(counts))]
        assert sorted(answers) == sorted(text for r in records for text in r.clip.texts)
        for its, answer in zip(made.records, answers, strict=True):
            assert answer not in its.clip.texts


def test_wrong_pairs_are_asked_for_nothing_that_is_right() -> None:
    made = examples(tasks=MIXED, ablation="shuffled")
    assert {kind(made.get_example(index, epoch)) for index in range(16) for epoch in range(9)} == {
        "translation"
    }


def test_a_task_has_its_words_and_no_forced_language() -> None:
    clip = Clip(
        "a", "train", "", texts=("rain",), encoder_prompt="__asl__", decoder_prompt="__en__"
    )
    prompt = PromptConfig(question="What is signed?", suffix="Answer:")
    tasks = TasksConfig(reversed=1)
    spoken = collect_prompt_texts(prompt, tasks, [])
    config = TrainedTokenizerConfig(algorithm="word", size=64)
    text = build_tokenizer(config, [ClipRecord(clip, {})], None, spoken)
    prompter = PromptBuilder(text, PromptSettings(prompt))
    translation = prompter.build_tokens(clip, Example.from_clip(clip))
    assert text.decode(translation.prompt) == "What is signed?"
    assert text.tokenizer.convert_ids_to_tokens(translation.prompt)[0] == "__asl__"
    assert text.decode(translation.suffix) == "Answer:"
    assert len(translation.forced) == 1
    asked = prompter.build_tokens(clip, Example("yes", prompt.reversed, is_reversed=True))
    assert text.decode(asked.prompt) == prompt.reversed
    assert asked.forced == ()
    assert text.decode(asked.labels) == "yes"
    assert text.tokenizer.unk_token_id not in {*asked.prompt, *asked.labels, *translation.suffix}


def test_frames_run_backwards_where_the_answer_says_so() -> None:
    records = [record(n) for n in range(8)]
    rising = np.arange(8, dtype=np.float32).reshape(4, 2)
    held = memory_store(*records, features=lambda _: {"pose": rising})
    config = BatchConfig.model_validate({"batch_size": 8, "tasks": {"reversed": 1}})
    spoken = collect_prompt_texts(PromptConfig(), config.tasks, records)
    text = build_tokenizer(TrainedTokenizerConfig(algorithm="word", size=64), records, None, spoken)
    stream = TrainDataset(held, text, config, seed=3)
    seen = Counter[tuple[bool, str]]()
    for position in range(6):
        batch = stream[position]
        for row in range(8):
            backwards = bool(batch.streams["pose"][row, 0, 0] > batch.streams["pose"][row, -1, 0])
            labels = batch.labels_BL[row][batch.labels_BL[row] >= 0].tolist()
            seen[backwards, text.decode(labels).split()[0]] += 1
    assert set(seen) == {(True, "yes"), (False, "no"), (False, "text")}


def test_prompts_with_wrong_braces_are_refused() -> None:
    for wrong in (
        {"word_present": "no word"},
        {"word_present": "{word} {}"},
        {"word_present": "{word:{}}"},
        {"which_words": "{words} {0}"},
        {"which_words": "{word}"},
        {"which_words": "{"},
    ):
        with pytest.raises(ValueError, match="braces"):
            PromptConfig(**wrong)


def test_a_word_has_one_form_in_questions_about_any_clip() -> None:
    """Else its case would say whether it is signed: clips write "Rain", the others "RAIN"."""
    forms = [word for word in WORDS[:4] for _ in range(2)]
    records = [record(n, w if n % 2 else w.upper()) for n, w in enumerate(forms)]
    made = examples(records=records, tasks={"word_present": 1})
    drawn = [made.get_example(i, epoch) for epoch in range(40) for i in range(len(records))]
    asked = {example.question.split('"')[1] for example in drawn if example.question}
    assert asked == {word.upper() for word in WORDS[:4]}


def test_augmented_texts_are_further_targets_but_never_the_first() -> None:
    clip = Clip("a", "train", "", texts=("One.", "Two."), augmented_texts=("Uno.", "Due."))
    records = [ClipRecord(clip, {"pose": 4}), *(record(n) for n in range(5))]
    every = [*clip.texts, *clip.augmented_texts]
    assert examples(records=records).get_example(0, 0) == Example("One.")
    assert Example.from_clip(clip) == Example("One."), "what evaluation takes the loss of"
    each = examples(records=records, reference_choice="each")
    assert [each.get_example(index, 0).answer for index in range(4)] == every
    drawn = examples(records=records, reference_choice="random")
    assert {drawn.get_example(0, epoch).answer for epoch in range(99)} == set(every)
    assert [e.answer for e in drawn.get_translations(0)] == every
    closest = examples(records=records, reference_choice="min_loss").get_example(0, 0)
    assert [closest.answer, *closest.other_answers] == every
    for how in ("each", "random", "min_loss"):
        wrong = examples(records=records, reference_choice=how, ablation="shuffled")
        for index, its in enumerate(wrong.records):
            assert its.clip.id != "a" or wrong.get_example(index, 0).answer not in every


def test_some_texts_of_each_clip_are_drawn_once() -> None:
    records = [record(n, texts=6) for n in range(40)] + [record(40, texts=2)]
    made = [
        examples(seed, records, reference_choice="each", references_per_clip=3)
        for seed in (1, 1, 2)
    ]
    first, again, other = ([e.get_example(i, 5).answer for i in range(122)] for e in made)
    assert first == again == [made[0].get_example(i, 0).answer for i in range(122)] != other
    counts = Counter(r.clip.id for r in made[0].records)
    assert counts == {f"c{n}": 3 for n in range(40)} | {"c40": 2}
    assert len(set(first)) == 122
    drawn = Counter(text[-1] for text in first)
    assert set(drawn) == set("012345") and min(drawn.values()) > 8
    with pytest.raises(ValueError, match="belongs to `reference_choice: each`"):
        BatchConfig(reference_choice="random", references_per_clip=3)
