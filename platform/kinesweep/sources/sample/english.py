"""English from a meaning: word order, tense, agreement, articles.

A subject is definite and an object is not, so articles follow from the signs; so do tense (from
the time sign), number and auxiliaries. Only the choice between two synonyms does not follow, and
without a generator the first is taken: that is the best reading of a row of signs.
"""

import numpy as np

from kinesweep.sources.sample.grammar import Meaning, NounPhrase
from kinesweep.sources.sample.lexicon import lexicon

SYNONYMS = {
    **{"big": "large", "small": "little", "happy": "glad", "picture": "photo", "boat": "ship"},
    **{"bicycle": "bike", "child": "kid", "children": "kids", "coat": "jacket", "few": "some"},
}
SYNONYM_SHARE = 0.25
"""How often the second of two synonyms is used."""

_DO = {"past": ("did", "did"), "future": ("will", "will"), "present": ("does", "do")}
_BE = {"past": ("was", "were"), "future": ("will be", "will be"), "present": ("is", "are")}
_PREPOSITIONS = {"beach": "on", "market": "at", "school": "at", "station": "at"}


def english(meaning: Meaning, rng: np.random.Generator | None = None) -> str:
    """The sentence, with a capital and its final mark."""
    signs = lexicon()
    words = _clause(meaning)
    if meaning.wh:
        words = [signs[meaning.wh].word, *words]
    if meaning.place:
        noun = signs[meaning.place].word
        words += [_PREPOSITIONS.get(noun, "in"), "the", noun]
    if meaning.time:
        words.append(signs[meaning.time].word)
    if rng is not None:
        words = [_synonym(word, rng) for word in words]
    text = " ".join(
        _article(word, after) for word, after in zip(words, [*words[1:], ""], strict=True)
    )
    return text[0].upper() + text[1:] + ("?" if meaning.asked or meaning.wh else ".")


def _clause(meaning: Meaning) -> list[str]:
    """Subject, verb and object; the auxiliary before the subject in a question."""
    inverted = meaning.subject is not None and (meaning.asked or meaning.wh is not None)
    subject = _noun_phrase(meaning.subject, "the")
    first, *later = _verb_group(meaning, inverted or meaning.negated)
    head = [first, *subject] if inverted else [*subject, first]
    negation = ["not"] if meaning.negated else []
    return [*head, *negation, *later, *_noun_phrase(meaning.object, "a")]


def _verb_group(meaning: Meaning, with_auxiliary: bool) -> list[str]:
    """The words of the predicate, the finite one first."""
    predicate = lexicon()[meaning.predicate]
    tense = lexicon()[meaning.time].other if meaning.time else "present"
    plural = _is_plural(meaning.subject)
    if predicate.word_class == "adjective":
        if meaning.subject and meaning.subject.noun == "I" and tense != "future":
            return ["am" if tense == "present" else "was", predicate.word]
        return [*_BE[tense][plural].split(), predicate.word]
    plain = plural or (meaning.subject is not None and meaning.subject.noun == "I")
    if with_auxiliary or tense == "future":
        return [_DO[tense][plain], predicate.word]
    if tense == "past":
        return [predicate.other]
    return [predicate.word if plain else _third_person(predicate.word)]


def _noun_phrase(phrase: NounPhrase | None, article: str) -> list[str]:
    if phrase is None:
        return []
    noun = lexicon()[phrase.noun]
    if noun.word_class == "pronoun":
        return [noun.word]
    head = [lexicon()[phrase.number].word] if phrase.number else [article]
    adjective = [lexicon()[phrase.adjective].word] if phrase.adjective else []
    return [*head, *adjective, noun.other if phrase.number else noun.word]


def _is_plural(subject: NounPhrase | None) -> bool:
    if subject is None:
        return False
    return subject.number is not None or subject.noun in ("YOU", "WE", "THEY")


def _third_person(verb: str) -> str:
    if verb.endswith("y") and verb[-2] not in "aeou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "x", "ch", "sh")) else "s")


def _synonym(word: str, rng: np.random.Generator) -> str:
    return SYNONYMS[word] if word in SYNONYMS and rng.random() < SYNONYM_SHARE else word


def _article(word: str, following: str) -> str:
    return "an" if word == "a" and following[:1] in "aeio" else word
