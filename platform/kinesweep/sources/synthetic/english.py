"""Generation of the English sentence of a meaning: word order, tense, agreement and articles.

Subjects are definite and objects indefinite, so the articles follow from the signs; so do tense
(from the time sign), number and auxiliaries. Only the choice between two synonyms does not.
Without a random generator the first synonym is used, which gives the most likely sentence.
"""

import numpy as np

from kinesweep.sources.synthetic.grammar import Meaning, NounPhrase
from kinesweep.sources.synthetic.lexicon import get_lexicon

SYNONYMS = {
    **{"big": "large", "small": "little", "happy": "glad", "picture": "photo", "boat": "ship"},
    **{"bicycle": "bike", "child": "kid", "children": "kids", "coat": "jacket", "few": "some"},
}
SYNONYM_SHARE = 0.25
"""Probability of the second of two synonyms."""

# Tense → form for a singular third person, form for all others.
_DO_FORMS = {"past": ("did", "did"), "future": ("will", "will"), "present": ("does", "do")}
_BE_FORMS = {"past": ("was", "were"), "future": ("will be", "will be"), "present": ("is", "are")}
_PREPOSITIONS = {"beach": "on", "market": "at", "school": "at", "station": "at"}


def generate_english(meaning: Meaning, rng: np.random.Generator | None = None) -> str:
    """Generate the English sentence of a meaning, capitalized and punctuated.

    Args:
        meaning: Meaning to express.
        rng: Random generator for the choice of synonyms; None always uses the first synonym.
    """
    signs = get_lexicon()
    words = _build_clause(meaning)
    if meaning.wh:
        words = [signs[meaning.wh].word, *words]
    if meaning.place:
        noun = signs[meaning.place].word
        words += [_PREPOSITIONS.get(noun, "in"), "the", noun]
    if meaning.time:
        words.append(signs[meaning.time].word)
    if rng is not None:
        words = [_sample_synonym(word, rng) for word in words]
    text = " ".join(
        _adjust_article(word, next_word)
        for word, next_word in zip(words, [*words[1:], ""], strict=True)
    )
    return text[0].upper() + text[1:] + ("?" if meaning.asked or meaning.wh else ".")


def _build_clause(meaning: Meaning) -> list[str]:
    """Build the words of subject, verb and object; questions put the auxiliary first."""
    # `WHO` replaces the subject, so such a question has nothing to invert.
    inverted = meaning.subject is not None and (meaning.asked or meaning.wh is not None)
    subject = _build_noun_phrase(meaning.subject, "the")
    first, *later = _build_verb_group(meaning, inverted or meaning.negated)
    head = [first, *subject] if inverted else [*subject, first]
    negation = ["not"] if meaning.negated else []
    return [*head, *negation, *later, *_build_noun_phrase(meaning.object, "a")]


def _build_verb_group(meaning: Meaning, with_auxiliary: bool) -> list[str]:
    """Build the words of the predicate, the finite verb first."""
    predicate = get_lexicon()[meaning.predicate]
    tense = get_lexicon()[meaning.time].inflected_form if meaning.time else "present"
    plural = _is_plural(meaning.subject)
    if predicate.word_class == "adjective":
        if meaning.subject and meaning.subject.noun == "I" and tense != "future":
            return ["am" if tense == "present" else "was", predicate.word]
        return [*_BE_FORMS[tense][plural].split(), predicate.word]
    # `I` takes the plural's forms of full verbs and of `do`, but not of `be` (handled above).
    uses_plural_form = plural or (meaning.subject is not None and meaning.subject.noun == "I")
    if with_auxiliary or tense == "future":
        return [_DO_FORMS[tense][uses_plural_form], predicate.word]
    if tense == "past":
        return [predicate.inflected_form]
    return [predicate.word if uses_plural_form else _conjugate_third_person(predicate.word)]


def _build_noun_phrase(phrase: NounPhrase | None, article: str) -> list[str]:
    """Build the words of a noun phrase; a number replaces the article."""
    if phrase is None:
        return []
    noun = get_lexicon()[phrase.noun]
    if noun.word_class == "pronoun":
        return [noun.word]
    head = [get_lexicon()[phrase.number].word] if phrase.number else [article]
    adjective = [get_lexicon()[phrase.adjective].word] if phrase.adjective else []
    return [*head, *adjective, noun.inflected_form if phrase.number else noun.word]


def _is_plural(subject: NounPhrase | None) -> bool:
    """Return whether a subject takes the plural form of the verb."""
    if subject is None:
        return False
    return subject.number is not None or subject.noun in ("YOU", "WE", "THEY")


def _conjugate_third_person(verb: str) -> str:
    """Return the third person singular of a verb."""
    if verb.endswith("y") and verb[-2] not in "aeou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "x", "ch", "sh")) else "s")


def _sample_synonym(word: str, rng: np.random.Generator) -> str:
    """Replace a word by its synonym with the probability `SYNONYM_SHARE`."""
    # Words without a synonym draw no random number.
    return SYNONYMS[word] if word in SYNONYMS and rng.random() < SYNONYM_SHARE else word


def _adjust_article(word: str, following: str) -> str:
    """Turn `a` into `an` before a vowel; no word of the lexicon begins with `u`."""
    return "an" if word == "a" and following[:1] in "aeio" else word
