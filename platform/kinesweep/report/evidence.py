"""What a report shows, in plain values: `report.json` is this and nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Trial:
    """One configuration of the search.

    Attributes:
        number: in the order of proposal.
        values: its swept parameters.
        state: `finished`, `pruned`, `failed` or `running`.
        scores: objective → value, when finished.
        reason: why it failed or was ended.
        seconds: it took.
    """

    number: int
    values: Mapping[str, Any]
    state: str
    scores: Mapping[str, float]
    reason: str
    seconds: float


@dataclass(frozen=True)
class Curve:
    """What a run measured as it learnt.

    Attributes:
        name: `trial 3` or `trial 3, seed 1`.
        phase: `search` or `finals`.
        state: how it ended.
        samples: clips seen at each evaluation.
        measured: metric → value at each evaluation, None where it was no number.
    """

    name: str
    phase: str
    state: str
    samples: Sequence[float]
    measured: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Sample:
    """One clip of validation, as the winner translates it.

    Attributes:
        clip: its id.
        signer: or empty.
        frames: its length.
        reference: what it should say; of several the first.
        hypothesis: what the winner says.
        score: chrF of the sentence, 0 to 100.
        in_train: whether the reference occurs in train word for word.
    """

    clip: str
    signer: str
    frames: int
    reference: str
    hypothesis: str
    score: float
    in_train: bool


@dataclass(frozen=True)
class Picture:
    """One clip of validation to look at.

    Attributes:
        clip: its id.
        references: what it should say.
        hypothesis: what the winner says.
        image: a PNG beside the page; empty where the features hold no points.
        attention: a page beside it that shows what the winner looked at; empty where there is none.
    """

    clip: str
    references: Sequence[str]
    hypothesis: str
    image: str
    attention: str


@dataclass(frozen=True)
class Scores:
    """Scores of a part of a split, mean over the winner's seeds.

    Attributes:
        what: `validation, sentences that occur in train`.
        clips: in it.
        values: metric → score.
    """

    what: str
    clips: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Report:
    """A sweep.

    Attributes:
        sweep: its name.
        question: that was asked.
        answer: in a sentence, with its doubts.
        metric: that decides.
        objectives: metric → `max` or `min`, the deciding one first.
        winner: name of the best configuration.
        winner_values: its swept parameters.
        ranking: lines with `name`, `mean`, `low`, `high`, `behind`, `tied` and the rest.
        levels: configuration → its scientific levels, in words.
        means: configuration → objective → mean over seeds, where there are several.
        front: configurations that no other one beats in every objective.
        sanity: baseline → score.
        test: seed → the winner's test scores.
        notes: what a reader must know.
        parameters: name → `role`, `why`, `range` (in words) and Optuna's `distribution` as JSON.
        trials: of the search.
        curves: of all runs.
        samples: translations of the winner's exported seed.
        parts: scores of sentences that also occur in train, and of those that do not.
        costs: what → how much, in words.
        failures: what failed and why.
        repeat: what is needed to do it again, in words.
        space: the search space as YAML.
        recipe: the recipe as YAML.
        pictures: a few clips, drawn.
        not_drawn: why clips, or what was looked at, are not shown.
    """

    sweep: str
    question: str
    answer: str
    metric: str
    objectives: Mapping[str, str]
    winner: str
    winner_values: Mapping[str, Any]
    ranking: Sequence[Mapping[str, Any]]
    levels: Mapping[str, str]
    means: Mapping[str, Mapping[str, float]]
    front: Sequence[str]
    sanity: Mapping[str, float]
    test: Mapping[str, Mapping[str, float]]
    notes: Sequence[str]
    parameters: Mapping[str, Mapping[str, str]]
    trials: Sequence[Trial]
    curves: Sequence[Curve]
    samples: Sequence[Sample]
    parts: Sequence[Scores]
    costs: Mapping[str, str]
    failures: Sequence[str]
    repeat: Mapping[str, str]
    space: str
    recipe: str
    pictures: Sequence[Picture] = ()
    not_drawn: Sequence[str] = ()
