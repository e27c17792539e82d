"""The grammar of the invented language: meanings, their signs, and their inverse.

The signs of a sentence are in the order *time, place, subject, object, verb, question word*; a noun
precedes its adjective and its number. Negation (a shaken head) and yes-no questions (raised brows)
have no sign of their own. English has another word order, articles, agreement and tense, all of
which follow from the signs. Only the choice between two synonyms does not, which keeps perfect
sign recognition below 100 BLEU.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kinesweep.sources.synthetic.lexicon import Sign, WordClass, get_glosses_by_class, get_lexicon

NEGATION, QUESTION = "nm:negation", "nm:question"
"""Gloss tokens of non-manual marking; they follow the signs."""


@dataclass(frozen=True)
class NounPhrase:
    """A noun or pronoun with an optional adjective and an optional number, all as glosses."""

    noun: str
    adjective: str | None = None
    number: str | None = None

    def to_glosses(self) -> list[str]:
        """Return the signs in order: noun, adjective, number."""
        return [gloss for gloss in (self.noun, self.adjective, self.number) if gloss is not None]


@dataclass(frozen=True)
class Meaning:
    """The meaning of a sentence, in glosses; equal meanings have equal signs."""

    subject: NounPhrase | None
    predicate: str
    object: NounPhrase | None = None
    time: str | None = None
    place: str | None = None
    wh: str | None = None
    negated: bool = False
    asked: bool = False

    def to_glosses(self) -> list[str]:
        """Return the signs in order, followed by the non-manual marks."""
        phrases = [p.to_glosses() if p else [] for p in (self.subject, self.object)]
        parts = [self.time, self.place, *phrases[0], *phrases[1], self.predicate, self.wh]
        marks = [NEGATION] * self.negated + [QUESTION] * self.asked
        return [gloss for gloss in parts if gloss is not None] + marks


@dataclass(frozen=True)
class SentenceProbabilities:
    """The probabilities of the parts of a sentence, which set its length and difficulty."""

    time: float = 0.55
    place: float = 0.3
    adjective: float = 0.3
    number: float = 0.22
    pronoun: float = 0.2
    person_object: float = 0.35
    transitive: float = 0.68
    intransitive: float = 0.2
    negated: float = 0.15
    asked: float = 0.15
    wh: float = 0.14


def draw_meaning(rng: np.random.Generator, mix: SentenceProbabilities) -> Meaning:
    """Draw a random meaning."""
    # The order of the draws is part of the corpus: reordering them changes all its sentences.
    kind = rng.random()
    time = _draw_gloss(rng, "time") if rng.random() < mix.time else None
    place = _draw_gloss(rng, "place") if rng.random() < mix.place else None
    subject = _draw_subject(rng, mix)
    negated = bool(rng.random() < mix.negated)
    if kind < mix.transitive:
        verb = _draw_gloss(rng, "verb")
        takes_person = get_lexicon()[verb].goes_with == "any" and rng.random() < mix.person_object
        obj = _draw_noun(rng, mix, "person" if takes_person else "thing")
        meaning = Meaning(subject, verb, obj, time, place, None, negated)
    elif kind < mix.transitive + mix.intransitive:
        meaning = Meaning(subject, _draw_gloss(rng, "state"), None, time, place, None, negated)
    else:
        # The adjective is the predicate here, so the noun gets no other one.
        subject = NounPhrase(subject.noun, None, subject.number)
        adjective = _draw_gloss(rng, "adjective", "person")
        meaning = Meaning(subject, adjective, None, time, place, None, negated)
    return _draw_question(rng, mix, meaning)


def _draw_question(
    rng: np.random.Generator, mix: SentenceProbabilities, meaning: Meaning
) -> Meaning:
    """Turn a statement into a yes-no or question-word question with the given probabilities."""
    share = rng.random()
    if share < mix.asked:
        return replace(meaning, asked=True)
    # A negated sentence gets no question word, so its last sign is always the predicate.
    if share >= mix.asked + mix.wh or meaning.negated:
        return meaning
    wh = _draw_gloss(rng, "question")
    if wh == "WHO":
        return replace(meaning, wh=wh, subject=None)
    if wh == "WHAT":  # without an object there is nothing to ask for
        return meaning if meaning.object is None else replace(meaning, wh=wh, object=None)
    if wh == "WHERE":
        return replace(meaning, wh=wh, place=None)
    return replace(meaning, wh=wh, time=None) if wh == "WHEN" else replace(meaning, wh=wh)


def _draw_subject(rng: np.random.Generator, mix: SentenceProbabilities) -> NounPhrase:
    """Draw a pronoun or a noun phrase for a person."""
    if rng.random() < mix.pronoun:
        return NounPhrase(_draw_gloss(rng, "pronoun"))
    return _draw_noun(rng, mix, "person")


def _draw_noun(
    rng: np.random.Generator, mix: SentenceProbabilities, kind: Literal["person", "thing"]
) -> NounPhrase:
    """Draw a noun phrase of the given kind."""
    adjective = _draw_gloss(rng, "adjective", kind) if rng.random() < mix.adjective else None
    number = _draw_gloss(rng, "number") if rng.random() < mix.number else None
    return NounPhrase(_draw_gloss(rng, kind), adjective, number)


def _draw_gloss(rng: np.random.Generator, word_class: WordClass, goes_with: str = "") -> str:
    """Draw the gloss of a random sign of a class."""
    glosses = get_glosses_by_class(word_class, goes_with)
    return glosses[int(rng.integers(len(glosses)))]


def parse_glosses(glosses: list[str]) -> Meaning:
    """Parse the meaning of a sequence of signs; the inverse of `Meaning.to_glosses`.

    Raises:
        ValueError: If the signs are not a sentence of this language.
    """
    signs = [get_lexicon()[gloss] for gloss in glosses if not gloss.startswith("nm:")]
    # The signs are consumed from the front in the order of `Meaning.to_glosses`.
    time = _pop_gloss(signs, "time")
    place = _pop_gloss(signs, "place")
    first, second = _pop_noun_phrase(signs), _pop_noun_phrase(signs)
    wh = signs.pop().gloss if signs and signs[-1].word_class == "question" else None
    if signs:
        predicate = signs.pop().gloss
    elif first is not None and first.adjective is not None:  # `DOG TIRED`, `DOG TIRED TWO`
        predicate, first = first.adjective, NounPhrase(first.noun, None, first.number)
    else:
        raise ValueError(f"no verb or adjective in {glosses}")
    if signs:
        raise ValueError(f"signs after the verb in {glosses}")
    if wh == "WHO":  # it replaces the subject, so the only phrase is the object
        first, second = None, first
    marks = (NEGATION in glosses, QUESTION in glosses)
    return Meaning(first, predicate, second, time, place, wh, *marks)


def _pop_gloss(signs: list[Sign], word_class: str) -> str | None:
    """Remove and return the gloss of the first sign if it belongs to the given class."""
    if signs and signs[0].word_class == word_class:
        return signs.pop(0).gloss
    return None


def _pop_noun_phrase(signs: list[Sign]) -> NounPhrase | None:
    """Remove and return a noun phrase from the front, if there is one."""
    if not signs or signs[0].word_class not in ("person", "thing", "pronoun"):
        return None
    noun = signs.pop(0)
    if noun.word_class == "pronoun":  # without adjective and number
        return NounPhrase(noun.gloss)
    adjective = _pop_gloss(signs, "adjective")
    return NounPhrase(noun.gloss, adjective, _pop_gloss(signs, "number"))
