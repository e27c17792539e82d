"""The data of a report as plain values; `report.json` contains exactly this.

Field names are the keys of `report.json` and of the page's template.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrialSummary:
    """One configuration of the search.

    Attributes:
        number: Position in the order of proposal, from 0.
        values: Swept parameter → value.
        state: `finished`, `pruned`, `failed` or `running`.
        scores: Objective → value; empty unless the trial finished.
        reason: Explanation why the trial failed or was stopped; empty otherwise.
        seconds: Duration of the trial in seconds.
    """

    number: int
    values: Mapping[str, Any]
    state: str
    scores: Mapping[str, float]
    reason: str
    seconds: float


@dataclass(frozen=True)
class LearningCurve:
    """The learning curve of a run.

    Attributes:
        name: Display name, `trial 3` or `trial 3, seed 1`.
        phase: `search` or `finals`.
        state: Final state, such as `finished`, `pruned` or `failed`.
        samples: Number of clips seen at each evaluation.
        measured: Metric → value at each evaluation; None where it was not finite.
    """

    name: str
    phase: str
    state: str
    samples: Sequence[float]
    measured: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class TranslationSample:
    """A validation clip with the winner's translation.

    Attributes:
        clip: Id of the clip.
        signer: Signer; empty if unknown.
        frames: Length of the longest stream in frames.
        reference: Reference text, the first one if there are several.
        hypothesis: Translation by the winner.
        score: Sentence chrF, 0 to 100.
        in_train: Whether a reference occurs verbatim in train.
    """

    clip: str
    signer: str
    frames: int
    reference: str
    hypothesis: str
    score: float
    in_train: bool


@dataclass(frozen=True)
class ClipImage:
    """A validation clip that the report shows as an image.

    Attributes:
        clip: Id of the clip.
        references: Reference texts.
        hypothesis: Translation by the winner.
        image: File name of a PNG beside the page; empty if the features contain no points.
        attention: File name of an attention page beside the page; empty if there is none.
    """

    clip: str
    references: Sequence[str]
    hypothesis: str
    image: str
    attention: str


@dataclass(frozen=True)
class SubsetScores:
    """The scores of a part of a split, as means over the winner's seeds.

    Attributes:
        what: Description such as `validation, sentences that occur in train`.
        clips: Number of clips in the part.
        values: Metric → score.
    """

    what: str
    clips: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class SweepReport:
    """The data of a sweep's report.

    Attributes:
        sweep: Name of the sweep.
        question: Question of the search space.
        answer: Conclusion in one sentence, with its uncertainty.
        metric: Metric that decides the ranking.
        objectives: Metric → `max` or `min`, the deciding one first.
        winner: Name of the best configuration.
        winner_values: Swept parameter → value of the winner.
        ranking: Configurations as mappings with the fields of `RankedConfiguration`, from best to
            worst.
        levels: Configuration → its scientific levels as text.
        means: Configuration → objective → mean over seeds; empty with a single objective.
        front: Configurations on the Pareto front.
        sanity: Sanity baseline → score.
        test: Seed → test scores of the winner.
        notes: Caveats for the reader.
        parameters: Swept parameter → mapping with `role`, `rationale`, `range` (text) and Optuna's
            `distribution` as JSON.
        trials: Trials of the search.
        curves: Learning curves of all runs.
        samples: Translations by the winner's exported seed.
        parts: Separate scores of sentences that occur in train and of those that do not.
        costs: Kind of cost → amount as text.
        failures: One line per failure, with its reason.
        repeat: Information needed to reproduce the sweep, name → text.
        space: Search space as YAML.
        recipe: Recipe as YAML.
        quality: Rows of the table of detection rates by split, the header first; empty for media
            without points.
        pictures: A few clips shown as images.
        not_drawn: Images or attention pages that are not shown, with the reasons.
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
    trials: Sequence[TrialSummary]
    curves: Sequence[LearningCurve]
    samples: Sequence[TranslationSample]
    parts: Sequence[SubsetScores]
    costs: Mapping[str, str]
    failures: Sequence[str]
    repeat: Mapping[str, str]
    space: str
    recipe: str
    quality: Sequence[Sequence[str]] = ()
    pictures: Sequence[ClipImage] = ()
    not_drawn: Sequence[str] = ()
