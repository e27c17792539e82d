"""The invented language's signs: what each means in English, and how each is formed.

Every sign has a form of hand shapes, a place, a movement, orientations and a mouth shape, drawn once from a fixed
seed so that the language is the same in every sample corpus; a draw too near an earlier sign is drawn again. A few
pairs share their hands and differ by the mouth alone. No sign of any real language is described here.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
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
Hands = Literal["one", "mirror", "base"]

LANGUAGE_SEED = 20240131
"""The forms are a part of the language, so no argument changes them."""

_NOUNS_OF_PERSONS = (
    "man/men woman/women boy girl child/children teacher doctor friend neighbor farmer baker painter singer driver "
    "nurse king queen thief soldier dog cat horse bird monkey"
)
_NOUNS_OF_THINGS = (
    "book car cup letter key hat chair table bicycle boat box coat flower lamp picture ring shoe ball bag coin "
    "phone clock egg shirt ticket apple knife/knives toy"
)
_PLACES = "school market garden station beach kitchen forest church park hospital office library"
_VERBS = (
    "buy/bought/thing see/saw find/found lose/lost break/broke/thing carry/carried paint/painted "
    "sell/sold/thing clean/cleaned want/wanted need/needed forget/forgot hide/hid steal/stole/thing "
    "bring/brought draw/drew wash/washed hold/held choose/chose touch/touched lift/lifted "
    "count/counted like/liked follow/followed"
)
_STATES = "sleep/slept laugh/laughed wait/waited work/worked dance/danced sing/sang fall/fell swim/swam run/ran cry/cried"
_ADJECTIVES = (
    "big//any small//any old//any young//person red//thing blue//thing green//thing white//thing "
    "new//thing heavy//thing happy//person sad//person tired//person strong//person sick//person"
)
_NUMBERS = "two three four five six many few"
_TIMES = (
    "yesterday/past last_week/past last_year/past tomorrow/future next_week/future soon/future "
    "today/present every_day/present often/present now/present"
)
_PRONOUNS = "I you he she we they"
_QUESTIONS = "who what where when why"


# Thumb to little finger, 0 straight to 1 bent, then the spread.
_HAND_SHAPES = {
    "fist": (1, 1, 1, 1, 1, 0), "flat": (0.6, 0, 0, 0, 0, 0), "spread": (0, 0, 0, 0, 0, 1), "one": (1, 0, 1, 1, 1, 0),
    "two": (1, 0, 0, 1, 1, 1), "three": (0, 0, 0, 1, 1, 0.8), "four": (1, 0, 0, 0, 0, 0.8), "horns": (1, 0, 1, 1, 0, 0.6),
    "call": (0, 1, 1, 1, 0, 0.8), "corner": (0, 0, 1, 1, 1, 0.4), "curve": (0.2, 0.4, 0.4, 0.4, 0.4, 0),
    "hook": (1, 0.55, 1, 1, 1, 0), "claw": (0.2, 0.5, 0.5, 0.5, 0.5, 1), "thumb": (0, 1, 1, 1, 1, 0),
    "little": (1, 1, 1, 1, 0, 0), "pinch": (0.5, 0.6, 0, 0, 0, 0.7),
}  # fmt: skip
# Towards the signing hand's side, then down, from the middle of the shoulders, in shoulder distances.
_PLACES_XY = (
    *(
        (0.1, -1.0),
        (0.35, -0.75),
        (0.1, -0.4),
        (0.45, -0.15),
        (0.05, 0.1),
        (0.65, 0.1),
        (-0.35, 0.1),
    ),
    *((0.3, 0.4), (-0.1, 0.5), (0.8, 0.55), (0.15, 0.85), (0.55, 0.9)),
)
_MOVES_XY = (
    (0.0, 0.0),
    (0.5, 0.0),
    (-0.5, 0.0),
    (0.0, 0.45),
    (0.0, -0.45),
    (0.35, 0.35),
    (-0.35, 0.35),
    (0.35, -0.35),
)
MOUTHS = ((0.0, 0.0), (0.9, 0.0), (0.45, -1.0), (0.15, 1.0))
"""(open, wide) of the four mouth shapes: still, open, rounded, wide."""


@dataclass(frozen=True)
class Form:
    """How a sign looks, in shoulder distances and radians, x towards the signing hand's side and y down."""

    shapes: tuple[str, str]
    place: tuple[float, float]
    move: tuple[float, float]
    bow: float
    angles: tuple[float, float]
    roll: float
    hands: Hands
    base_shape: str
    base_place: tuple[float, float]
    mouth: int


@dataclass(frozen=True)
class Sign:
    """A sign: its gloss, its class, its English words, and its form."""

    gloss: str
    word_class: WordClass
    word: str
    other: str
    goes_with: str
    form: Form
    """`other` is a noun's plural, a verb's past, a time's tense; `goes_with` (person, thing, any) is
    what a verb takes as object and an adjective describes; elsewhere both are empty."""


def shape_vector(name: str) -> FloatArray:
    """(6,): five flexions and the spread of a hand shape."""
    return np.array(_HAND_SHAPES[name], dtype=float)


@lru_cache(maxsize=1)
def lexicon() -> dict[str, Sign]:
    """All signs by gloss, in a fixed order."""
    words = _words()
    forms = _distinct_forms(len(words))
    return {row[0]: Sign(*row, form) for row, form in zip(words, forms, strict=True)}


@lru_cache(maxsize=64)
def of_class(word_class: WordClass, goes_with: str = "") -> tuple[str, ...]:
    """The glosses of a class, in the lexicon's order; of those that go with persons or things."""
    allowed = (goes_with, "any") if goes_with else ("", "any", "person", "thing")
    return tuple(
        sign.gloss
        for sign in lexicon().values()
        if sign.word_class == word_class and sign.goes_with in allowed
    )


def _words() -> list[tuple[str, WordClass, str, str, str]]:
    lists: tuple[tuple[WordClass, str], ...] = (
        *(
            ("person", _NOUNS_OF_PERSONS),
            ("thing", _NOUNS_OF_THINGS),
            ("place", _PLACES),
            ("verb", _VERBS),
        ),
        *(("state", _STATES), ("adjective", _ADJECTIVES), ("number", _NUMBERS), ("time", _TIMES)),
        *(("pronoun", _PRONOUNS), ("question", _QUESTIONS)),
    )
    rows: list[tuple[str, WordClass, str, str, str]] = []
    for word_class, text in lists:
        for entry in text.split():
            word, other, goes_with = (entry.split("/") + ["", ""])[:3]
            if word_class in ("person", "thing") and not other:
                other = word + ("es" if word.endswith(("x", "s", "ch")) else "s")
            if word_class in ("verb", "adjective") and not goes_with:
                goes_with = "any"
            gloss = word.upper().replace("_", "-")
            rows.append((gloss, word_class, word.replace("_", " "), other, goes_with))
    return rows


def _distinct_forms(count: int) -> list[Form]:
    """Draw forms until `count` are at least MIN_DISTANCE apart; every ninth copies its neighbour's hands."""
    rng = np.random.default_rng(LANGUAGE_SEED)
    forms: list[Form] = []
    vectors: list[FloatArray] = []
    while len(forms) < count:
        if len(forms) % 9 == 8:  # a minimal pair: the same hands, the mouth two shapes on
            form = replace(forms[-1], mouth=(forms[-1].mouth + 2) % len(MOUTHS))
        else:
            form = _draw_form(rng)
            vector = _look(form)
            if (
                vectors
                and min(float(np.linalg.norm(vector - other)) for other in vectors) < MIN_DISTANCE
            ):
                continue
            vectors.append(vector)
        forms.append(form)
    return forms


MIN_DISTANCE = 0.9
"""Least distance between two signs' looks (below); about the width of a hand over the whole sign."""


def _draw_form(rng: np.random.Generator) -> Form:
    shapes = list(_HAND_SHAPES)
    first = shapes[rng.integers(len(shapes))]
    last = shapes[rng.integers(len(shapes))] if rng.random() < 0.25 else first
    place = np.array(_PLACES_XY[rng.integers(len(_PLACES_XY))]) + rng.uniform(-0.07, 0.07, 2)
    move = np.array(_MOVES_XY[rng.integers(len(_MOVES_XY))]) * rng.uniform(0.7, 1.2)
    angle = float(rng.choice([-1.2, -0.6, 0.0, 0.6]))
    turn = float(rng.choice([-1.0, 1.0])) if rng.random() < 0.25 else 0.0
    hands: Hands = ("one", "mirror", "base")[int(rng.choice(3, p=[0.45, 0.3, 0.25]))]
    return Form(
        shapes=(first, last),
        place=(float(place[0]), float(place[1])),
        move=(float(move[0]), float(move[1])),
        bow=float(rng.choice([-0.25, 0.0, 0.25])),
        angles=(angle, angle + turn),
        roll=float(rng.choice([0.0, 0.7, 2.4])),
        hands=hands,
        base_shape=("flat", "fist", "spread", "one")[rng.integers(4)],
        base_place=(float(rng.choice([-0.1, -0.4])), float(rng.choice([0.35, 0.75]))),
        mouth=int(rng.integers(len(MOUTHS))),
    )


def _look(form: Form) -> FloatArray:
    """What a viewer sees of a form, as a vector in which distance is how unlike two signs are."""
    start, end = (
        np.array(form.place) - np.array(form.move) / 2,
        np.array(form.place) + np.array(form.move) / 2,
    )
    base = np.array(form.base_place) + 1 if form.hands == "base" else np.zeros(2)
    return np.concatenate(
        [
            *(1.5 * start, 1.5 * end, [form.bow, float(form.hands == "mirror"), form.roll * 0.3]),
            *(base, np.array(form.angles) * 0.4),
            *(0.5 * shape_vector(shape) for shape in form.shapes),
        ]
    )
