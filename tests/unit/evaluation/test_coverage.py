"""Texts that a tokenizer cannot write are measured, and unknown tokens stay visible in outputs.

Inputs: alphabets without umlauts, other scripts, decomposed letters and long texts, under the three
kinds of trained tokenizers and saved T5 and byte tokenizers.
"""

import pytest
import transformers

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.config.recipe.model import TrainedTokenizerConfig
from kinesweep.core.clip import Clip
from kinesweep.data.text_tokenizer import TextTokenizer, build_tokenizer
from kinesweep.data.truecase import learn_truecaser
from kinesweep.evaluation.scoring import compute_scores
from kinesweep.evaluation.tokenization.coverage import (
    format_coverage_warnings,
    format_share_warnings,
    measure_coverage,
)
from kinesweep.store.format.index import ClipRecord
from kinesweep.training.loop.text_checks import _find_metric_problems
from languages import SENTENCES
from records import memory_store


def clip(number: int, *texts: str, split: str = "train", prompt: str = "") -> ClipRecord:
    made = Clip(id=f"c{number}", split=split, media="c.pose", texts=texts, decoder_prompt=prompt)
    return ClipRecord(made, {"pose": 4})


def trained(texts: tuple[str, ...], algorithm: str = "unigram", **more: object) -> TextTokenizer:
    config = TrainedTokenizerConfig.model_validate({"algorithm": algorithm, "size": 512, **more})
    return build_tokenizer(config, [clip(n, text) for n, text in enumerate(texts)], None)


@pytest.mark.parametrize("algorithm", ["unigram", "bpe", "word"])
def test_what_the_tokenizer_was_trained_on_is_covered(algorithm: str) -> None:
    for language in ("english", "german", "japanese", "arabic", "signwriting"):
        tokenizer = trained(SENTENCES[language], algorithm)
        records = [clip(n, text) for n, text in enumerate(SENTENCES[language])]
        found = measure_coverage(records, tokenizer, 500)
        assert (found.unknown_share, found.changed_share, found.num_too_long) == (0, 0, 0), language
        assert not format_coverage_warnings("train", found, 500)


@pytest.mark.parametrize("language", ["german", "thai", "chinese", "hebrew", "greek"])
def test_other_scripts_are_unknown_and_warned_about(language: str) -> None:
    tokenizer = trained(SENTENCES["english"])
    records = [clip(n, text) for n, text in enumerate(SENTENCES[language])]
    found = measure_coverage(records, tokenizer, 500)
    assert found.unknown_share > (0.01 if language == "german" else 0.2)
    assert found.changed_share > 0.3 and "` becomes `" in found.changed_example
    warnings = format_coverage_warnings("validation", found, 500)
    assert "of validation are unknown to the tokenizer" in warnings[0]
    assert "not the same after encoding and decoding" in warnings[1]


def test_unknown_tokens_stay_in_decoded_text_and_are_wrong() -> None:
    tokenizer = trained(("the dog sat", "a dog ran"), "word")
    text = tokenizer.decode(tokenizer.encode_target("", "the heron sat"))
    assert text == "the<unk> sat"
    assert compute_scores({"a": text}, {"a": ["the sat"]}, ["bleu1"]).values["bleu1"] < 60
    assert compute_scores({"a": text}, {"a": [text]}, ["bleu1", "chrf"]).values["bleu1"] < 60


def test_truecasing_leaves_unknown_tokens_alone() -> None:
    cased = trained(("The dog sat", "A dog ran"), "word", lowercase=True)
    assert cased.decode(cased.encode_text("heron the dog"), truecase=True) == "<unk> the dog"
    assert (
        TextTokenizer(cased.tokenizer, True, learn_truecaser(["x Unk"]))
        .decode(cased.encode_text("the heron"), truecase=True)
        .endswith("<unk>")
    )


def test_tokenizers_whose_unknown_token_has_another_role_hide_it() -> None:
    byte = TextTokenizer(transformers.ByT5Tokenizer())
    found = measure_coverage([clip(0, *SENTENCES["thai"])], byte, 1000)
    assert found.unknown_share == found.changed_share == 0
    padded = trained(("the dog sat",)).tokenizer
    padded.pad_token = padded.unk_token
    tokenizer = TextTokenizer(padded)
    assert tokenizer.unknown_id is None
    assert tokenizer.decode([*tokenizer.encode_text("the dog"), padded.unk_token_id]) == "the dog"


def test_case_that_is_lost_on_purpose_is_no_change() -> None:
    texts = SENTENCES["german"]
    found = measure_coverage([clip(0, *texts)], trained(texts, lowercase=True), 500)
    assert found.changed_share == 0


def test_references_longer_than_the_output_are_counted() -> None:
    tokenizer = trained(("one two three four",), "word", new_tokens=["__en__"])
    records = [clip(0, "one"), clip(1, "one two", "one two three four"), clip(2, "two three")]
    # The end of sentence and the decoder prompt are generated as well.
    assert measure_coverage(records, tokenizer, 5).num_too_long == 0
    found = measure_coverage(records, tokenizer, 4)
    assert (found.num_texts, found.num_too_long, found.longest, found.longest_clip) == (
        4,
        1,
        5,
        "c1",
    )
    prompted = [clip(3, "one two three four", prompt="__en__")]
    assert measure_coverage(prompted, tokenizer, 5).num_too_long == 1
    (warning,) = format_coverage_warnings("test", found, 4)
    assert warning.startswith("1 of 4 texts of test (25.0%) have more tokens than")
    assert "(4), the longest 5 (clip `c1`)" in warning


def test_two_spellings_of_letters_are_warned_about_and_one_is_not() -> None:
    mixed = ["Süden", "Su\u0308den", "Süden", "Norden"]
    tokenizer = trained(tuple(mixed))
    found = measure_coverage([clip(n, text) for n, text in enumerate(mixed)], tokenizer, 50)
    assert found.ununified_share == 0.25 and found.changed_share == 0
    assert "two spellings" in format_coverage_warnings("train", found, 50)[0]
    one = measure_coverage([clip(n, "Su\u0308den") for n in range(4)], tokenizer, 50)
    assert not format_coverage_warnings("train", one, 50)


def test_a_large_split_is_examined_in_part() -> None:
    tokenizer = trained(("one two",), "word")
    found = measure_coverage([clip(n, "one two") for n in range(3500)], tokenizer, 50)
    assert 800 <= found.num_texts <= 1000


def test_metrics_that_do_not_suit_the_texts_are_named() -> None:
    def problems(texts: tuple[str, ...], **protocol: str) -> list[str]:
        records = [
            clip(n, t, split=s) for s in ("train", "validation") for n, t in enumerate(texts)
        ]
        config = EvaluationConfig.model_validate({"protocol": protocol or "raw"})
        return _find_metric_problems(memory_store(*records), config)

    assert problems(SENTENCES["japanese"]) == problems(SENTENCES["german"]) == []
    assert "whole sentences count as single words" in problems(SENTENCES["thai"], tokenize="13a")[0]
    assert "at most 2 words" in problems(("good morning", "hello"))[0]


def test_the_shares_of_a_result_are_one_warning_a_split() -> None:
    good = {"unknown_tokens": 0.002, "changed_texts": 0.01, "too_long_texts": 0.0}
    bad = {"unknown_tokens": 0.45, "changed_texts": 1.0, "too_long_texts": 0.25}
    (warning,) = format_share_warnings({"train": good, "test": bad})
    for part in ("texts of test: 45.0% of", "100.0% are not", "25.0% are longer than"):
        assert part in warning
    (only,) = format_share_warnings({"test": {**good, "too_long_texts": 0.001}})
    assert "unknown" not in only and "0.1% are longer" in only
    assert format_share_warnings({}) == []
