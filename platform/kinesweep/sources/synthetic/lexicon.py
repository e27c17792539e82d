"""The lexicon of the invented language: the English meaning and the form of each sign.

There are 141 signs in ten classes. The words are English, because that is the target language of
the corpus. The forms are generated (see `handshapes`) from a fixed seed, so the language is the
same in every corpus.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from kinesweep.sources.synthetic.handshapes import SignForm, generate_distinct_forms

WordClass = Literal[
    "person",
    "thing",
    "place",
    "verb",
    "state",
    "adjective",
    "number",
    "time",
    "pronoun",
    "question",
]

# Each entry is `word/other/goes_with` (see `Sign`); `_` stands for a space. Forms are assigned in
# this order: an entry inserted in the middle would change all signs after it.
_ENTRIES: dict[WordClass, str] = {
    "person": (
        "man/men woman/women boy girl child/children teacher doctor friend neighbor farmer baker "
        "painter singer driver nurse king queen thief/thieves soldier dog cat horse bird monkey"
    ),
    "thing": (
        "book car cup letter key hat chair table bicycle boat box coat flower lamp picture ring "
        "shoe ball bag coin phone clock egg shirt ticket apple knife/knives toy"
    ),
    "place": (
        "school market garden station beach kitchen forest church park hospital office library"
    ),
    "verb": (
        "buy/bought/thing see/saw find/found lose/lost break/broke/thing carry/carried "
        "paint/painted sell/sold/thing clean/cleaned want/wanted need/needed forget/forgot "
        "hide/hid steal/stole/thing bring/brought draw/drew wash/washed hold/held choose/chose "
        "touch/touched lift/lifted count/counted like/liked follow/followed"
    ),
    "state": (
        "sleep/slept laugh/laughed wait/waited work/worked dance/danced sing/sang fall/fell "
        "swim/swam run/ran cry/cried"
    ),
    "adjective": (
        "big//any small//any old//any young//person red//thing blue//thing green//thing "
        "white//thing new//thing heavy//thing happy//person sad//person tired//person "
        "strong//person sick//person"
    ),
    "number": "two three four five six many few",
    "time": (
        "yesterday/past last_week/past last_year/past tomorrow/future next_week/future "
        "soon/future today/present every_day/present often/present now/present"
    ),
    "pronoun": "I you he she we they",
    "question": "who what where when why",
}


@dataclass(frozen=True)
class Sign:
    """A sign with its English word and its form.

    `inflected_form` is the plural of a person or thing, the past tense of a verb or state, or the
    tense of a time sign. `goes_with` (person, thing or any) is the kind of object that a verb takes
    or the kind of noun that an adjective describes. For other classes each of them is empty.
    """

    gloss: str
    word_class: WordClass
    word: str
    inflected_form: str
    goes_with: str
    form: SignForm


@lru_cache(maxsize=1)
def get_lexicon() -> dict[str, Sign]:
    """Return all signs of the language by gloss, in the order of `_ENTRIES`."""
    parsed_entries = [
        _parse_entry(word_class, entry)
        for word_class, text in _ENTRIES.items()
        for entry in text.split()
    ]
    forms = generate_distinct_forms(len(parsed_entries))
    signs = [Sign(*fields, form) for fields, form in zip(parsed_entries, forms, strict=True)]
    return {sign.gloss: sign for sign in signs}


@lru_cache(maxsize=64)
def get_glosses_by_class(word_class: WordClass, goes_with: str = "") -> tuple[str, ...]:
    """Return the glosses of the signs of a class in the order of the lexicon.

    Args:
        word_class: Class of the signs.
        goes_with: `person` or `thing` to keep only signs that go with it, or empty for all signs.
    """
    allowed = (goes_with, "any") if goes_with else ("", "any", "person", "thing")
    return tuple(
        sign.gloss
        for sign in get_lexicon().values()
        if sign.word_class == word_class and sign.goes_with in allowed
    )


def _parse_entry(word_class: WordClass, entry: str) -> tuple[str, WordClass, str, str, str]:
    """Parse an entry of `_ENTRIES` to the fields of a `Sign` without its form.

    Returns:
        Gloss, class, word, inflected form and `goes_with`.
    """
    word, inflected_form, goes_with = [*entry.split("/"), "", ""][:3]
    # Regular plurals are formed here; verbs and adjectives without a restriction go with any noun.
    if word_class in ("person", "thing") and not inflected_form:
        inflected_form = word + ("es" if word.endswith(("x", "s", "ch")) else "s")
    if word_class in ("verb", "adjective") and not goes_with:
        goes_with = "any"
    return (
        word.upper().replace("_", "-"),
        word_class,
        word.replace("_", " "),
        inflected_form,
        goes_with,
    )
