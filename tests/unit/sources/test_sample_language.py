"""The invented language: signs, grammar, English, and what a perfect reader of signs scores."""

from dataclasses import replace

import numpy as np
import pytest

from kinesweep.sources.synthetic.english import SYNONYMS, generate_english
from kinesweep.sources.synthetic.grammar import SentenceProbabilities, draw_meaning, parse_glosses
from kinesweep.sources.synthetic.handshapes import MIN_DISTANCE, _compute_form_vector
from kinesweep.sources.synthetic.lexicon import get_glosses_by_class, get_lexicon
from kinesweep.sources.synthetic.oracle import compute_perfect_recognition_bleu, translate_glosses

SENTENCES = {
    "YESTERDAY MARKET WOMAN OLD CAR RED TWO BUY": (
        "The old woman bought two red cars at the market yesterday."
    ),
    "YESTERDAY MARKET CAR RED TWO WOMAN OLD BUY": (
        "Two red cars bought an old woman at the market yesterday."
    ),
    "DOG CAT SEE": "The dog sees a cat.",
    "CAT DOG SEE": "The cat sees a dog.",
    "DOG CAT SEE nm:negation": "The dog does not see a cat.",
    "DOG CAT SEE nm:question": "Does the dog see a cat?",
    "TOMORROW DOG TWO CAT SEE nm:negation nm:question": (
        "Will two dogs not see a cat tomorrow?"
    ),
    "DOG TIRED": "The dog is tired.",
    "LAST-WEEK DOG TWO TIRED": "Two dogs were tired last week.",
    "SOON I TIRED nm:question": "Will I be tired soon?",
    "I TIRED nm:negation": "I am not tired.",
    "KITCHEN I EGG COUNT": "I count an egg in the kitchen.",
    "BOY CARRY WHAT": "What does the boy carry?",
    "CHAIR CARRY WHO": "Who carries a chair?",
    "YESTERDAY CHAIR CARRY WHO": "Who carried a chair yesterday?",
    "THEY SLEEP WHERE": "Where do they sleep?",
    "THIEF SIX CRY WHY": "Why do six thieves cry?",
    "BIRD WASH WHAT": "What does the bird wash?",
    "NURSE CRY": "The nurse cries.",
}  # fmt: skip


def meanings(count, seed=0):
    rng = np.random.default_rng(seed)
    return [draw_meaning(rng, SentenceProbabilities()) for _ in range(count)]


@pytest.mark.parametrize("signs", SENTENCES)
def test_signs_become_english(signs):
    assert translate_glosses(signs.split()) == SENTENCES[signs]


def test_every_meaning_can_be_read_from_its_signs():
    for meaning in meanings(3000):
        assert parse_glosses(meaning.to_glosses()) == meaning


def test_two_meanings_rarely_share_their_english():
    distinct = set(meanings(3000))
    assert len({generate_english(meaning) for meaning in distinct}) >= 0.999 * len(distinct)


@pytest.mark.parametrize("signs", ["DOG", "TWO DOG SLEEP", "DOG CAT SEE SLEEP", ""])
def test_what_is_no_sentence_is_refused(signs):
    with pytest.raises(ValueError, match=r"no verb or adjective|signs after the verb"):
        parse_glosses(signs.split())


def test_the_lexicon_has_enough_signs_and_each_is_met():
    assert len(get_lexicon()) >= 120
    met = {gloss for meaning in meanings(4000) for gloss in meaning.to_glosses()}
    assert set(get_lexicon()) <= met


def test_forms_differ_by_hands_or_at_least_by_the_mouth():
    forms = [sign.form for sign in get_lexicon().values()]
    assert len(set(forms)) == len(forms)
    pairs = 0
    for number, form in enumerate(forms):
        for other in forms[:number]:
            if (
                np.linalg.norm(_compute_form_vector(form) - _compute_form_vector(other))
                < MIN_DISTANCE
            ):
                assert form == replace(other, mouth=form.mouth)
                pairs += 1
    assert pairs == len(forms) // 9


def test_verbs_take_what_they_can():
    things = {"BUY", "SELL", "BREAK", "STEAL"}
    assert things <= set(get_glosses_by_class("verb", "thing"))
    assert not things & set(get_glosses_by_class("verb", "person"))


def test_a_perfect_recogniser_misses_synonyms_only():
    rng = np.random.default_rng(1)
    told = [(meaning.to_glosses(), generate_english(meaning, rng)) for meaning in meanings(500)]
    sure = [(glosses, text) for glosses, text in told if not set(text.split()) & set(SYNONYMS)]
    assert 92 < compute_perfect_recognition_bleu(told) < 99.5
    first = [(glosses, translate_glosses(glosses)) for glosses, _ in told]
    assert compute_perfect_recognition_bleu(first) == pytest.approx(100)
    assert len(sure) > 300


def test_the_best_constant_sentence_scores_low():
    texts = [generate_english(meaning) for meaning in meanings(400)]
    best = max(
        compute_perfect_recognition_bleu([(guess.to_glosses(), text) for text in texts])
        for guess in meanings(60, seed=9)
    )
    assert best < 5
