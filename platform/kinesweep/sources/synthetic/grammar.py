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
        """Return the glosses of the phrase in the order of its signs: noun, adjective, number."""
        return [gloss for gloss in (self.noun, self.adjective, self.number) if gloss is not None]


@dataclass(frozen=True)
class Meaning:
    """The meaning of a sentence, in glosses; equal meanings have equal signs.

    Attributes:
        subject: Subject, or None if `WHO` replaces it.
        predicate: Gloss of the verb or of the predicate adjective.
        object: Object, or None.
        time: Gloss of the time, or None.
        place: Gloss of the place, or None.
        question_word: Gloss of the question word, or None.
        negated: Whether the sentence is negated.
        is_yes_no_question: Whether the sentence is a question without a question word.
    """

    subject: NounPhrase | None
    predicate: str
    object: NounPhrase | None = None
    time: str | None = None
    place: str | None = None
    question_word: str | None = None
    negated: bool = False
    is_yes_no_question: bool = False

    def to_glosses(self) -> list[str]:
        """Return the glosses in the order of the signs, followed by the non-manual marks."""
        subject, object_ = (
            phrase.to_glosses() if phrase else [] for phrase in (self.subject, self.object)
        )
        glosses = [*(self.time, self.place, *subject, *object_, self.predicate, self.question_word)]
        marks = [NEGATION] * self.negated + [QUESTION] * self.is_yes_no_question
        return [gloss for gloss in glosses if gloss is not None] + marks


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
    yes_no_question: float = 0.15
    question_word: float = 0.14


def draw_meaning(rng: np.random.Generator, probabilities: SentenceProbabilities) -> Meaning:
    """Draw the meaning of a random sentence.

    Args:
        rng: Random generator.
        probabilities: Probabilities of the parts of a sentence.
    """
    # The order of the draws is part of the corpus: reordering them changes all its sentences.
    predicate_draw = rng.random()
    time = _draw_gloss(rng, "time") if rng.random() < probabilities.time else None
    place = _draw_gloss(rng, "place") if rng.random() < probabilities.place else None
    subject = _draw_subject(rng, probabilities)
    negated = bool(rng.random() < probabilities.negated)
    if predicate_draw < probabilities.transitive:
        verb = _draw_gloss(rng, "verb")
        takes_person = (
            get_lexicon()[verb].goes_with == "any" and rng.random() < probabilities.person_object
        )
        object_ = _draw_noun(rng, probabilities, "person" if takes_person else "thing")
        meaning = Meaning(subject, verb, object_, time, place, None, negated)
    elif predicate_draw < probabilities.transitive + probabilities.intransitive:
        meaning = Meaning(subject, _draw_gloss(rng, "state"), None, time, place, None, negated)
    else:
        # The adjective is the predicate here, so the noun gets no other one.
        subject = NounPhrase(subject.noun, None, subject.number)
        adjective = _draw_gloss(rng, "adjective", "person")
        meaning = Meaning(subject, adjective, None, time, place, None, negated)
    return _draw_question(rng, probabilities, meaning)


def _draw_question(
    rng: np.random.Generator, probabilities: SentenceProbabilities, meaning: Meaning
) -> Meaning:
    """Return the meaning of a statement unchanged, or turn it into a question at random.

    The question is a yes-no question or has a question word.

    Args:
        rng: Random generator, which draws the kind of sentence and the question word.
        probabilities: Probabilities of the parts of a sentence.
        meaning: Meaning of the statement.
    """
    question_draw = rng.random()
    if question_draw < probabilities.yes_no_question:
        return replace(meaning, is_yes_no_question=True)
    # A negated sentence gets no question word, so its last sign is always the predicate.
    if (
        question_draw >= probabilities.yes_no_question + probabilities.question_word
        or meaning.negated
    ):
        return meaning
    question_word = _draw_gloss(rng, "question")
    if question_word == "WHAT" and meaning.object is None:  # there is nothing to ask for
        return meaning
    question = replace(meaning, question_word=question_word)
    if question_word == "WHO":
        return replace(question, subject=None)
    if question_word == "WHAT":
        return replace(question, object=None)
    if question_word == "WHERE":
        return replace(question, place=None)
    return replace(question, time=None) if question_word == "WHEN" else question


def _draw_subject(rng: np.random.Generator, probabilities: SentenceProbabilities) -> NounPhrase:
    """Draw the subject of a sentence: a pronoun or a noun phrase for a person."""
    if rng.random() < probabilities.pronoun:
        return NounPhrase(_draw_gloss(rng, "pronoun"))
    return _draw_noun(rng, probabilities, "person")


def _draw_noun(
    rng: np.random.Generator, probabilities: SentenceProbabilities, kind: Literal["person", "thing"]
) -> NounPhrase:
    """Draw a noun phrase for a person or a thing, with or without adjective and number."""
    adjective = (
        _draw_gloss(rng, "adjective", kind) if rng.random() < probabilities.adjective else None
    )
    number = _draw_gloss(rng, "number") if rng.random() < probabilities.number else None
    return NounPhrase(_draw_gloss(rng, kind), adjective, number)


def _draw_gloss(rng: np.random.Generator, word_class: WordClass, goes_with: str = "") -> str:
    """Draw the gloss of a random sign of a class that goes with a kind of noun, if given."""
    glosses = get_glosses_by_class(word_class, goes_with)
    return glosses[int(rng.integers(len(glosses)))]


def parse_glosses(glosses: list[str]) -> Meaning:
    """Parse a sequence of signs and marks, and return its meaning.

    This is the inverse of `Meaning.to_glosses`.

    Raises:
        KeyError: If a gloss is not in the lexicon.
        ValueError: If the signs are not a sentence of this language.
    """
    signs = [get_lexicon()[gloss] for gloss in glosses if not gloss.startswith("nm:")]
    # The signs are consumed from the front in the order of `Meaning.to_glosses`.
    time = _pop_gloss(signs, "time")
    place = _pop_gloss(signs, "place")
    subject, object_ = _pop_noun_phrase(signs), _pop_noun_phrase(signs)
    question_word = signs.pop().gloss if signs and signs[-1].word_class == "question" else None
    if signs:
        predicate = signs.pop().gloss
    elif subject is not None and subject.adjective is not None:  # `DOG TIRED`, `DOG TIRED TWO`
        predicate, subject = subject.adjective, NounPhrase(subject.noun, None, subject.number)
    else:
        raise ValueError(f"no verb or adjective in {glosses}")
    if signs:
        raise ValueError(f"signs after the verb in {glosses}")
    if question_word == "WHO":  # it replaces the subject, so the only phrase is the object
        subject, object_ = None, subject
    marks = (NEGATION in glosses, QUESTION in glosses)
    return Meaning(subject, predicate, object_, time, place, question_word, *marks)


def _pop_gloss(signs: list[Sign], word_class: str) -> str | None:
    """Remove the first sign and return its gloss if it belongs to a class; otherwise return None.

    Args:
        signs: Remaining signs of the sentence, which this function shortens.
        word_class: Class that the sign must belong to.
    """
    if signs and signs[0].word_class == word_class:
        return signs.pop(0).gloss
    return None


def _pop_noun_phrase(signs: list[Sign]) -> NounPhrase | None:
    """Remove a noun phrase from the front of the signs and return it, or None without a noun.

    Args:
        signs: Remaining signs of the sentence, which this function shortens.
    """
    if not signs or signs[0].word_class not in ("person", "thing", "pronoun"):
        return None
    noun = signs.pop(0)
    if noun.word_class == "pronoun":  # without adjective and number
        return NounPhrase(noun.gloss)
    adjective = _pop_gloss(signs, "adjective")
    return NounPhrase(noun.gloss, adjective, _pop_gloss(signs, "number"))
