"""Forms of one character are equal in scores, and an unknown token is never right.

Forms are those of Unicode 16: canonical equivalence (UAX #15), presentation forms and width
variants (UnicodeData.txt, decompositions `<initial>`, `<wide>`, `<narrow>`), default ignorables.
"""

import random
import unicodedata

import pytest

from kinesweep.evaluation.scoring import CorpusMetric, compute_scores, compute_sentence_chrf
from kinesweep.evaluation.text_normalization import unify_forms
from languages import SENTENCES

METRICS = ["bleu", "chrf", "rouge", "chrfpp"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Süden", "Su\u0308den"),
        ("Été à la plage", unicodedata.normalize("NFD", "Été à la plage")),
        ("한국어", unicodedata.normalize("NFD", "한국어")),
        ("بسم الله", "ﺑﺴﻢ ﺍﻟﻠﻪ"),
        ("لا", "\ufefb"),
        ("カタカナが", "ｶﾀｶﾅが"),
        ("ガギグ", "ｶﾞｷﾞｸﾞ"),
        ("ABC 123!", "ＡＢＣ　１２３！"),
        ("שׁלום", "\ufb2aלום"),
        ("नज़र", "न\u095bर"),
        ("น้ำ", "น\u0e4d\u0e49\u0e32"),
        ("ນ້ຳ", "ນ\u0ecd\u0ec9\u0eb2"),
        ("10 km", "10\u00a0km"),
        ("10 km", "10\u202fkm"),
        ("Donaudampf", "Donau\u00addampf"),
        ("fin", "ﬁn"),
        ("ភាសាខ្មែរ", "ភាសា\u200bខ្មែរ"),
        ("שלום", "\u200fשלום\u200e"),
        ("Text", "\ufeffText"),
        ("Å", "\u212b"),
        ("Việt", unicodedata.normalize("NFD", "Việt")),
        ("金", "⾦"),
    ],
)
def test_forms_of_a_character_are_equal(one: str, other: str) -> None:
    assert one != other and unify_forms(one) == unify_forms(other)
    references = {"a": [one]}
    found = compute_scores({"a": other}, references, METRICS)
    assert found.values == pytest.approx(dict.fromkeys(METRICS, 100))
    assert compute_scores({"a": one}, {"a": [other]}, METRICS).values == pytest.approx(found.values)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("می‌روم", "میروم"),  # the joiner separates the prefix
        ("क्‍ष", "क्ष"),
        ("كَتَبَ", "كتب"),  # vowel points
        ("שָׁלוֹם", "שלום"),
        ("Süden", "Suden"),
        ("ß", "ss"),
        ("x²", "x2"),
        ("…", "..."),
        ("Regen", "regen"),
    ],
)
def test_what_is_not_a_form_stays_different(one: str, other: str) -> None:
    assert unify_forms(one) != unify_forms(other)


@pytest.mark.parametrize("language", SENTENCES)
def test_texts_in_nfc_stay_as_they_are(language: str) -> None:
    for text in SENTENCES[language]:
        # Full-width punctuation is the one form that the sentences contain on purpose.
        text = text.replace("，", ",").replace("！", "!")
        assert unify_forms(text) == text


def test_unifying_is_stable_on_any_text() -> None:
    draw = random.Random(5)
    for _ in range(3000):
        code_points = [
            draw.choice([draw.randrange(0x20, 0xD800), draw.randrange(0xE000, 0x20000)])
            for _ in range(8)
        ]
        text = "".join(map(chr, code_points))
        once = unify_forms(text)
        assert unify_forms(once) == once
        assert unify_forms(unicodedata.normalize("NFD", text)) == once


def test_the_signature_says_if_references_were_unified() -> None:
    composed, decomposed = {"a": ["Été"]}, {"a": ["E\u0301te\u0301"]}
    plain = compute_scores({"a": "E\u0301te"}, composed, ["chrf"]).signatures["chrf"]
    assert "unicode" not in plain
    found = compute_scores({"a": "Été"}, decomposed, ["chrf"]).signatures["chrf"]
    assert found.startswith("protocol:raw|chrf|unicode:unified|nrefs:1|")


@pytest.mark.parametrize("unknown", ["<unk>", "[UNK]", "<UNK>", "⁇", "\ufffd"])
def test_an_unknown_token_matches_nothing(unknown: str) -> None:
    said = {"a": f"I saw a {unknown} today", "b": "good morning to you"}
    references = {"a": [f"I saw a {unknown} today"], "b": ["good morning to you"]}
    right = {
        clip: [text.replace(unknown, "heron") for text in texts]
        for clip, texts in references.items()
    }
    for wanted in (references, right):
        found = compute_scores(said, wanted, [*METRICS, "rouge1"]).values
        assert max(found.values()) < 95
    found = compute_scores(said, right, ["bleu1", "rouge1", "ter"]).values
    assert found == pytest.approx({"bleu1": 800 / 9, "rouge1": 90, "ter": 100 / 9})
    assert compute_sentence_chrf(said, references)["a"] < 95
    metric = CorpusMetric("bleu1")
    rows_NK = metric.compute_clip_statistics(said, right)
    assert metric.compute_score_from_sum(rows_NK.sum(0)) == pytest.approx(800 / 9)


def test_unknown_tokens_are_not_right_in_scripts_without_spaces() -> None:
    for language in ("chinese", "japanese", "thai", "signwriting"):
        references = {str(i): [text] for i, text in enumerate(SENTENCES[language])}
        said = {clip: "<unk>" + texts[0][1:] for clip, texts in references.items()}
        wanted = {clip: ["<unk>" + texts[0][1:]] for clip, texts in references.items()}
        for targets in (references, wanted):
            found = compute_scores(said, targets, ["bleu", "chrf", "rouge1"]).values
            assert max(found.values()) < 99, language
