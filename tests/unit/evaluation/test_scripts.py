"""Perfect texts have full scores in every script under the protocol that is chosen without asking.

Scripts are those of Unicode 16 (`Scripts.txt`, and line-breaking class SA of UAX #14 for scripts
without spaces); FSW follows draft-slevinski-formal-signwriting, section 2.
"""

import random

import pytest
import sacrebleu

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.core.errors import InputError
from kinesweep.evaluation.baselines import find_best_constant_sentence
from kinesweep.evaluation.scoring import CorpusMetric, compute_scores
from kinesweep.evaluation.tokenization.fsw import FswTokenizer, is_fsw_word
from kinesweep.evaluation.tokenization.scripts import choose_tokenizer, is_unsuitable
from kinesweep.evaluation.tokenization.tokenizers import create_tokenizer
from languages import SENTENCES, TOKENIZERS

METRICS = ["bleu", "bleu1", "bleu2", "bleu3", "chrf", "chrfpp", "rouge1", "rouge2", "rouge"]


def corpus(language: str) -> dict[str, list[str]]:
    return {f"c{i}": [text] for i, text in enumerate(SENTENCES[language])}


@pytest.mark.parametrize("language", SENTENCES)
def test_perfect_texts_score_100_and_shuffled_ones_do_not(language: str) -> None:
    references = corpus(language)
    perfect = {clip: texts[0] for clip, texts in references.items()}
    found = compute_scores(perfect, references, [*METRICS, "ter", "meteor"])
    assert found.values == pytest.approx(
        {**dict.fromkeys(METRICS, 100), "ter": 0, "meteor": found.values["meteor"]}
    )
    # METEOR's penalty for fragments leaves less than 1 % for a perfect sentence of 4 words.
    assert found.values["meteor"] > 95
    tokenizer = create_tokenizer(TOKENIZERS[language])
    draw = random.Random(0)
    shuffled = {}
    for clip, text in perfect.items():
        words = tokenizer(text).split()
        draw.shuffle(words)
        shuffled[clip] = " ".join(words)
    worse = compute_scores(shuffled, references, [*METRICS, "ter"]).values
    assert worse["bleu"] < 50 and worse["chrf"] < 95 and worse["rouge"] < 90 and worse["ter"] > 20


@pytest.mark.parametrize("language", SENTENCES)
def test_the_tokenizer_is_in_every_signature(language: str) -> None:
    references = corpus(language)
    perfect = {clip: texts[0] for clip, texts in references.items()}
    name = TOKENIZERS[language]
    signatures = compute_scores(
        perfect, references, ["bleu", "rouge", "cider", "meteor"]
    ).signatures
    assert choose_tokenizer(SENTENCES[language]) == name
    for signature in signatures.values():
        assert f"|tok:{name}" in signature
        assert signature.startswith("protocol:raw|") is (name == "13a")
    words = compute_scores(perfect, references, ["chrfpp", "ter"]).signatures
    assert all((f"tok:{name}" in signature) is (name != "13a") for signature in words.values())


@pytest.mark.parametrize(("language", "tokenize"), [("english", "13a"), ("chinese", "zh")])
def test_scores_equal_those_of_sacrebleu(language: str, tokenize: str) -> None:
    references = corpus(language)
    draw = random.Random(1)
    hypotheses = {}
    for clip, (text,) in references.items():
        characters = list(text)
        del characters[draw.randrange(len(characters) - 1)]
        hypotheses[clip] = "".join(characters)
    ids = sorted(references)
    wanted = sacrebleu.corpus_bleu(
        [hypotheses[i] for i in ids], [[references[i][0] for i in ids]], tokenize=tokenize
    )
    assert 0 < wanted.score < 100
    assert compute_scores(hypotheses, references, ["bleu"]).values["bleu"] == wanted.score


def test_japanese_words_are_those_of_sacrebleu() -> None:
    references = corpus("japanese")
    hypotheses = {clip: texts[0].replace("は", "が") for clip, texts in references.items()}
    ids = sorted(references)
    wanted = sacrebleu.corpus_bleu(
        [hypotheses[i] for i in ids], [[references[i][0] for i in ids]], tokenize="ja-mecab"
    )
    found = compute_scores(hypotheses, references, ["bleu"])
    assert found.values["bleu"] == wanted.score and 30 < wanted.score < 95
    assert "tokenize=ja-mecab|bleu|nrefs:1" in found.signatures["bleu"]


def test_an_explicit_tokenizer_wins() -> None:
    references = corpus("japanese")
    perfect = {clip: texts[0] for clip, texts in references.items()}
    by_space = ScoringProtocol(tokenize="13a")
    found = compute_scores({**perfect, "c0": "雨"}, references, ["rouge"], by_space)
    # Nine of ten sentences are one word each, which is right as a whole or wrong as a whole.
    assert found.values["rouge"] == pytest.approx(90)
    assert "|tok:13a|" in found.signatures["rouge"]
    assert is_unsuitable("13a", SENTENCES["japanese"]) and is_unsuitable("none", SENTENCES["thai"])
    assert not is_unsuitable("zh", SENTENCES["japanese"])
    assert not is_unsuitable("13a", SENTENCES["korean"])


def test_a_corpus_with_some_foreign_words_keeps_its_tokenizer() -> None:
    chinese = SENTENCES["chinese"] * 10
    assert choose_tokenizer([*chinese, *SENTENCES["english"]]) == "zh"
    assert choose_tokenizer([*SENTENCES["english"] * 10, *SENTENCES["thai"]]) == "13a"
    assert choose_tokenizer(["我的英文名字是Christopher Alexander Montgomery。"]) == "zh"
    assert choose_tokenizer(["12:30", "3.5", "…"]) == "13a" == choose_tokenizer([])
    # Traditional Chinese with a Japanese particle in a brand name.
    assert choose_tokenizer(["我們今天在優の良品買了很多糖果和餅乾給孩子們吃"]) == "zh"


@pytest.mark.parametrize(
    "pair", [("english", "japanese"), ("chinese", "japanese"), ("thai", "german")]
)
def test_several_scripts_are_refused_with_the_setting(pair: tuple[str, str]) -> None:
    texts = [text for language in pair for text in SENTENCES[language]]
    with pytest.raises(
        InputError, match=r"several scripts: of 20 examined texts.*evaluation\.protocol"
    ):
        choose_tokenizer(texts)


def test_japanese_word_lists_are_japanese() -> None:
    assert (
        choose_tokenizer(["東京", "学校", "りんご", "食べる", "先生", "ありがとう"]) == "ja-mecab"
    )
    assert choose_tokenizer(["北京", "学校", "苹果", "老师"]) == "zh"


@pytest.mark.parametrize("language", ["english", "thai", "chinese", "japanese", "signwriting"])
def test_texts_of_one_word_have_a_bleu(language: str) -> None:
    words = {
        "english": ["hello", "yes", "tea"],
        "thai": ["มา", "ไป", "ดี"],
        "chinese": ["好", "你好", "再见"],
        "japanese": ["はい", "猫", "ありがとう"],
        "signwriting": SENTENCES["signwriting"][:3],
    }[language]
    references = {str(i): [word] for i, word in enumerate(words)}
    perfect = {str(i): word for i, word in enumerate(words)}
    found = compute_scores(perfect, references, ["bleu", "chrf"])
    assert found.values == pytest.approx({"bleu": 100, "chrf": 100})
    assert ("|order:" in found.signatures["bleu"]) is (language != "signwriting")
    wrong = compute_scores({**perfect, "0": "!"}, references, ["bleu"]).values["bleu"]
    assert wrong < 90
    rows_NK = CorpusMetric("bleu").compute_clip_statistics(perfect, references)
    assert CorpusMetric("bleu").compute_score_from_sum(rows_NK.sum(0)) == pytest.approx(100)
    assert find_best_constant_sentence(words, references)[1] > 0


def test_the_order_of_bleu_follows_the_references_alone() -> None:
    references = {"a": ["good morning"], "b": ["thank you"]}
    long_texts = {"a": "good morning to all of you", "b": "thank you very much indeed"}
    found = compute_scores(long_texts, references, ["bleu", "bleu1", "bleu3"])
    assert "|order:2|" in found.signatures["bleu"] and "|order:2|" in found.signatures["bleu3"]
    assert "order" not in found.signatures["bleu1"]
    assert (
        found.values["bleu"]
        == found.values["bleu3"]
        == pytest.approx(compute_scores(long_texts, references, ["bleu2"]).values["bleu2"])
    )


def test_signs_are_split_into_symbols_and_positions() -> None:
    sign = "AS14c20S27106M518x529S14c20481x471S27106503x489"
    assert FswTokenizer()(f"{sign} S38800464x496 hello") == (
        "A S14c20 S27106 M 518x529 S14c20 481x471 S27106 503x489 S38800 464x496 hello"
    )
    assert is_fsw_word("M500x500") and is_fsw_word(f"{sign}-CP10G_e6e6e6_Z2--D01_blue_")
    for word in ("M518", "S14c20", "Mx", "S14c80500x500", "AM500x500", "M518x529S14c20"):
        assert not is_fsw_word(word), word


def test_missing_tokenizers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sacrebleu.tokenizers.tokenizer_ko_mecab as korean

    create_tokenizer.cache_clear()
    monkeypatch.setattr(korean, "MeCab", None)
    with pytest.raises(InputError, match=r"sacrebleu\[ko\]"):
        create_tokenizer("ko-mecab")
    with pytest.raises(InputError, match="flores200sacrebleuspm"):
        create_tokenizer("flores200")
