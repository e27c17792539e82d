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
    if meaning.question_word:
        words = [signs[meaning.question_word].word, *words]
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
    return (
        text[0].upper()
        + text[1:]
        + ("?" if meaning.is_yes_no_question or meaning.question_word else ".")
    )


def _build_clause(meaning: Meaning) -> list[str]:
    """Return the words of subject, verb and object; in questions the auxiliary comes first."""
    # `WHO` replaces the subject, so such a question has nothing to invert.
    is_inverted = meaning.subject is not None and (
        meaning.is_yes_no_question or meaning.question_word is not None
    )
    subject = _build_noun_phrase(meaning.subject, "the")
    finite_verb, *other_verbs = _build_verb_group(meaning, is_inverted or meaning.negated)
    clause = [finite_verb, *subject] if is_inverted else [*subject, finite_verb]
    negation = ["not"] if meaning.negated else []
    return [*clause, *negation, *other_verbs, *_build_noun_phrase(meaning.object, "a")]


def _build_verb_group(meaning: Meaning, with_auxiliary: bool) -> list[str]:
    """Return the words of the verb and of a predicate adjective, the finite verb first.

    Args:
        meaning: Meaning of the sentence.
        with_auxiliary: Whether the sentence needs an auxiliary, as questions and negations do.
    """
    predicate = get_lexicon()[meaning.predicate]
    tense = get_lexicon()[meaning.time].inflected_form if meaning.time else "present"
    is_plural = _is_plural(meaning.subject)
    if predicate.word_class == "adjective":
        if meaning.subject and meaning.subject.noun == "I" and tense != "future":
            return ["am" if tense == "present" else "was", predicate.word]
        return [*_BE_FORMS[tense][is_plural].split(), predicate.word]
    # `I` takes the plural's forms of full verbs and of `do`, but not of `be` (handled above).
    uses_plural_form = is_plural or (meaning.subject is not None and meaning.subject.noun == "I")
    if with_auxiliary or tense == "future":
        return [_DO_FORMS[tense][uses_plural_form], predicate.word]
    if tense == "past":
        return [predicate.inflected_form]
    return [predicate.word if uses_plural_form else _conjugate_third_person(predicate.word)]


def _build_noun_phrase(phrase: NounPhrase | None, article: str) -> list[str]:
    """Return the words of a noun phrase, or none for None; a number replaces the article.

    Args:
        phrase: Noun phrase in glosses.
        article: Article for a noun without a number.
    """
    if phrase is None:
        return []
    noun = get_lexicon()[phrase.noun]
    if noun.word_class == "pronoun":
        return [noun.word]
    determiner = get_lexicon()[phrase.number].word if phrase.number else article
    adjective = [get_lexicon()[phrase.adjective].word] if phrase.adjective else []
    return [determiner, *adjective, noun.inflected_form if phrase.number else noun.word]


def _is_plural(subject: NounPhrase | None) -> bool:
    """Return whether a subject is plural, that is, has a number or is `YOU`, `WE` or `THEY`."""
    if subject is None:
        return False
    return subject.number is not None or subject.noun in ("YOU", "WE", "THEY")


def _conjugate_third_person(verb: str) -> str:
    """Return the third person singular of a regular verb in the present tense."""
    if verb.endswith("y") and verb[-2] not in "aeou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "x", "ch", "sh")) else "s")


def _sample_synonym(word: str, rng: np.random.Generator) -> str:
    """Return the synonym of a word with the probability `SYNONYM_SHARE`, or else the word."""
    # Words without a synonym draw no random number.
    return SYNONYMS[word] if word in SYNONYMS and rng.random() < SYNONYM_SHARE else word


def _adjust_article(word: str, next_word: str) -> str:
    """Return `an` for the word `a` before a vowel, or else the word unchanged."""
    # No word of the lexicon begins with `u`.
    return "an" if word == "a" and next_word[:1] in "aeio" else word
