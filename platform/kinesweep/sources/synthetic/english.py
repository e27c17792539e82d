"""Generation of the English sentence of a meaning: word order, tense, agreement and articles.

Subjects are definite and objects indefinite, so the articles follow from the signs; so do tense
(from the time sign), number and auxiliaries. Only the choice between two synonyms does not.
Without a random generator the first synonym is used, which gives the most likely sentence.
"""

import numpy as np

from kinesweep.sources.synthetic.grammar import Meaning, NounPhrase
from kinesweep.sources.synthetic.lexicon import lexicon

SYNONYMS = {
    **{"big": "large", "small": "little", "happy": "glad", "picture": "photo", "boat": "ship"},
    **{"bicycle": "bike", "child": "kid", "children": "kids", "coat": "jacket", "few": "some"},
}
SYNONYM_SHARE = 0.25
"""Probability of the second of two synonyms."""

# Tense → form for a singular third person, form for all others.
_DO = {"past": ("did", "did"), "future": ("will", "will"), "present": ("does", "do")}
_BE = {"past": ("was", "were"), "future": ("will be", "will be"), "present": ("is", "are")}
_PREPOSITIONS = {"beach": "on", "market": "at", "school": "at", "station": "at"}


def english(meaning: Meaning, rng: np.random.Generator | None = None) -> str:
    """Return the sentence of a meaning, capitalized and punctuated.

    Args:
        meaning: Meaning to express.
        rng: Random generator for the choice of synonyms; None always uses the first synonym.
    """
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
    """Return the words of subject, verb and object; questions put the auxiliary first."""
    # `WHO` replaces the subject, so such a question has nothing to invert.
    inverted = meaning.subject is not None and (meaning.asked or meaning.wh is not None)
    subject = _noun_phrase(meaning.subject, "the")
    first, *later = _verb_group(meaning, inverted or meaning.negated)
    head = [first, *subject] if inverted else [*subject, first]
    negation = ["not"] if meaning.negated else []
    return [*head, *negation, *later, *_noun_phrase(meaning.object, "a")]


def _verb_group(meaning: Meaning, with_auxiliary: bool) -> list[str]:
    """Return the words of the predicate, the finite verb first."""
    predicate = lexicon()[meaning.predicate]
    tense = lexicon()[meaning.time].other if meaning.time else "present"
    plural = _is_plural(meaning.subject)
    if predicate.word_class == "adjective":
        if meaning.subject and meaning.subject.noun == "I" and tense != "future":
            return ["am" if tense == "present" else "was", predicate.word]
        return [*_BE[tense][plural].split(), predicate.word]
    # `I` takes the plural's forms of full verbs and of `do`, but not of `be` (handled above).
    plain = plural or (meaning.subject is not None and meaning.subject.noun == "I")
    if with_auxiliary or tense == "future":
        return [_DO[tense][plain], predicate.word]
    if tense == "past":
        return [predicate.other]
    return [predicate.word if plain else _third_person(predicate.word)]


def _noun_phrase(phrase: NounPhrase | None, article: str) -> list[str]:
    """Return the words of a noun phrase; a number replaces the article."""
    if phrase is None:
        return []
    noun = lexicon()[phrase.noun]
    if noun.word_class == "pronoun":
        return [noun.word]
    head = [lexicon()[phrase.number].word] if phrase.number else [article]
    adjective = [lexicon()[phrase.adjective].word] if phrase.adjective else []
    return [*head, *adjective, noun.other if phrase.number else noun.word]


def _is_plural(subject: NounPhrase | None) -> bool:
    """Return whether a subject takes the plural form of the verb."""
    if subject is None:
        return False
    return subject.number is not None or subject.noun in ("YOU", "WE", "THEY")


def _third_person(verb: str) -> str:
    """Return the third person singular of a verb."""
    if verb.endswith("y") and verb[-2] not in "aeou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "x", "ch", "sh")) else "s")


def _synonym(word: str, rng: np.random.Generator) -> str:
    """Replace a word by its synonym with the probability `SYNONYM_SHARE`."""
    # Words without a synonym draw no random number.
    return SYNONYMS[word] if word in SYNONYMS and rng.random() < SYNONYM_SHARE else word


def _article(word: str, following: str) -> str:
    """Turn `a` into `an` before a vowel; no word of the lexicon begins with `u`."""
    return "an" if word == "a" and following[:1] in "aeio" else word
