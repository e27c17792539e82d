"""The invented language: signs, grammar, English, and what a perfect reader of signs scores."""

from dataclasses import replace

import numpy as np
import pytest

from kinesweep.sources.synthetic.english import SYNONYMS, english
from kinesweep.sources.synthetic.grammar import SentenceMix, draw_meaning, read_glosses
from kinesweep.sources.synthetic.handshapes import MIN_DISTANCE, _look
from kinesweep.sources.synthetic.lexicon import lexicon, of_class
from kinesweep.sources.synthetic.oracle import best_guess, perfect_recogniser_bleu

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
    return [draw_meaning(rng, SentenceMix()) for _ in range(count)]


@pytest.mark.parametrize("signs", SENTENCES)
def test_signs_become_english(signs):
    assert best_guess(signs.split()) == SENTENCES[signs]


def test_every_meaning_can_be_read_from_its_signs():
    for meaning in meanings(3000):
        assert read_glosses(meaning.glosses()) == meaning


def test_two_meanings_rarely_share_their_english():
    distinct = set(meanings(3000))
    assert len({english(meaning) for meaning in distinct}) >= 0.999 * len(distinct)


@pytest.mark.parametrize("signs", ["DOG", "TWO DOG SLEEP", "DOG CAT SEE SLEEP", ""])
def test_what_is_no_sentence_is_refused(signs):
    with pytest.raises(ValueError, match=r"no verb or adjective|signs after the verb"):
        read_glosses(signs.split())


def test_the_lexicon_has_enough_signs_and_each_is_met():
    assert len(lexicon()) >= 120
    met = {gloss for meaning in meanings(4000) for gloss in meaning.glosses()}
    assert set(lexicon()) <= met


def test_forms_differ_by_hands_or_at_least_by_the_mouth():
    forms = [sign.form for sign in lexicon().values()]
    assert len(set(forms)) == len(forms)
    pairs = 0
    for number, form in enumerate(forms):
        for other in forms[:number]:
            if np.linalg.norm(_look(form) - _look(other)) < MIN_DISTANCE:
                assert form == replace(other, mouth=form.mouth)
                pairs += 1
    assert pairs == len(forms) // 9


def test_verbs_take_what_they_can():
    things = {"BUY", "SELL", "BREAK", "STEAL"}
    assert things <= set(of_class("verb", "thing"))
    assert not things & set(of_class("verb", "person"))


def test_a_perfect_recogniser_misses_synonyms_only():
    rng = np.random.default_rng(1)
    told = [(meaning.glosses(), english(meaning, rng)) for meaning in meanings(500)]
    sure = [(glosses, text) for glosses, text in told if not set(text.split()) & set(SYNONYMS)]
    assert 92 < perfect_recogniser_bleu(told) < 99.5
    first = [(glosses, best_guess(glosses)) for glosses, _ in told]
    assert perfect_recogniser_bleu(first) == pytest.approx(100)
    assert len(sure) > 300


def test_the_best_constant_sentence_scores_low():
    texts = [english(meaning) for meaning in meanings(400)]
    best = max(
        perfect_recogniser_bleu([(guess.glosses(), text) for text in texts])
        for guess in meanings(60, seed=9)
    )
    assert best < 5
