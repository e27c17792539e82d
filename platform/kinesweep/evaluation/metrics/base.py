"""Common parts of all text metrics but sacreBLEU's: scores, statistics and signatures.

Most of them score a clip at a time, and their corpus score is the mean (`ClipMeanMetric`). The
statistics of a clip are then its score and the number 1, from whose sums the score of any resample
follows. `isolate_scoring` keeps a metric's model from changing the training that it interrupts.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.core.errors import InputError
from kinesweep.evaluation.text_normalization import (
    format_protocol,
    normalize_hypothesis,
    normalize_text,
)

Texts = Mapping[str, str]
"""Clip id → text."""
References = Mapping[str, Sequence[str]]
"""Clip id → reference sentences."""


class TextPair(NamedTuple):
    """A normalized hypothesis and one of its references, with the source text of the clip.

    Attributes:
        hypothesis: Text to score.
        reference: Reference sentence.
        source: Source text, unchanged; empty for metrics that read none.
    """

    hypothesis: str
    reference: str
    source: str = ""


@dataclass(frozen=True)
class MetricResult:
    """The score of a corpus by one metric.

    Attributes:
        value: Score.
        signature: Protocol, name and settings of the metric.
        clip_scores: Clip id → score, if the corpus score is their mean; otherwise None. Clips that
            a judge did not score are missing.
        parts: Name → score of parts of the metric that are reported with it.
        counts: Name → number of requests, answers and unscored clips, for judges.
    """

    value: float
    signature: str
    clip_scores: dict[str, float] | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


class TextMetric(Protocol):
    """A metric that scores a corpus and supports bootstrap resampling.

    Attributes:
        metric: Name of the score.
        protocol: Normalization of hypotheses and references.
        num_resamples: Number of resamples that a ranking can afford.
    """

    @property
    def metric(self) -> str:
        """Return the name of the score."""

    @property
    def protocol(self) -> ScoringProtocol:
        """Return the normalization of hypotheses and references."""

    @property
    def num_resamples(self) -> int:
        """Return the number of resamples that a ranking can afford."""

    def __call__(self, hypotheses: Texts, references: References) -> float:
        """Compute the corpus score."""

    def compute_clip_statistics(
        self, hypotheses: Texts, references: References
    ) -> NDArray[np.float64]:
        """Compute one row of statistics for each clip, in the order of sorted ids."""

    def compute_score_from_sum(self, summed_statistics: NDArray[np.float64]) -> float:
        """Compute the corpus score of a set of clips from the sum of their statistics."""


class ConfiguredMetric(ABC):
    """A metric with settings of its own, see `TextMetric`.

    Args:
        name: Name of the score.
        protocol: Normalization of hypotheses and references.
    """

    num_resamples = 1000
    package = ""
    """Package and version of a metric that another package adds."""

    def __init__(self, name: str, protocol: ScoringProtocol) -> None:
        self.metric = name
        self.protocol = protocol

    def __call__(self, hypotheses: Texts, references: References) -> float:
        """Compute the corpus score."""
        return self.compute(hypotheses, references).value

    @abstractmethod
    def compute(self, hypotheses: Texts, references: References) -> MetricResult:
        """Compute the corpus score with its signature.

        Args:
            hypotheses: Clip id → text.
            references: Clip id → reference sentences, for the same clips.

        Raises:
            InputError: If there are no clips, the ids differ, or the metric cannot be computed.
        """

    @abstractmethod
    def compute_clip_statistics(
        self, hypotheses: Texts, references: References
    ) -> NDArray[np.float64]:
        """Compute one row of statistics for each clip, in the order of sorted ids."""

    @abstractmethod
    def compute_score_from_sum(self, summed_statistics: NDArray[np.float64]) -> float:
        """Compute the corpus score of a set of clips from the sum of their statistics."""

    @abstractmethod
    def format_settings(self) -> str:
        """Format the settings of the metric for its signature."""

    def format_signature(self) -> str:
        """Format the protocol, the name and the settings of the metric."""
        protocol = format_protocol(self.protocol)
        package = f"|package:{self.package}" if self.package else ""
        return f"protocol:{protocol}|{self.metric}|{self.format_settings()}{package}"

    def normalize(
        self, hypotheses: Texts, references: References
    ) -> tuple[list[str], list[list[str]]]:
        """Return normalized hypotheses and references in the order of sorted clip ids.

        Raises:
            InputError: If there are no clips, the ids differ, or a clip has no reference.
        """
        check_same_clips(hypotheses, references)
        ids = sorted(hypotheses)
        return (
            [normalize_hypothesis(hypotheses[i], self.protocol) for i in ids],
            [[normalize_text(text, self.protocol) for text in references[i]] for i in ids],
        )


class ClipMeanMetric(ConfiguredMetric):
    """A metric whose corpus score is the mean of the scores of the clips.

    Of several references of a clip, the one with the best score counts. Equal pairs are scored
    once.

    Args:
        name: Name of the score.
        protocol: Normalization of hypotheses and references.
        lower_is_better: Whether the best reference is the one with the lowest score.
        empty_score: Score of an empty hypothesis; None passes empty hypotheses to the metric.
    """

    def __init__(
        self,
        name: str,
        protocol: ScoringProtocol,
        lower_is_better: bool = False,
        empty_score: float | None = 0.0,
    ) -> None:
        super().__init__(name, protocol)
        self._choose_best = min if lower_is_better else max
        self._empty_score = empty_score

    @abstractmethod
    def score_pairs(self, pairs: Sequence[TextPair]) -> list[float]:
        """Compute the score of each pair, in the scale in which it is reported.

        Args:
            pairs: Distinct pairs, from short to long texts; at least one.
        """

    def find_source_texts(self, clip_ids: Sequence[str]) -> Mapping[str, str]:
        """Return clip id → source text; empty texts for metrics that read none."""
        return dict.fromkeys(clip_ids, "")

    def compute_clip_scores(self, hypotheses: Texts, references: References) -> dict[str, float]:
        """Compute clip id → score, in the order of sorted ids; see `compute`."""
        texts, references_by_clip = self.normalize(hypotheses, references)
        clip_ids = sorted(hypotheses)
        sources = self.find_source_texts(clip_ids)
        pairs = {
            clip_id: [TextPair(text, reference, sources[clip_id]) for reference in clip_references]
            for clip_id, text, clip_references in zip(
                clip_ids, texts, references_by_clip, strict=True
            )
        }
        distinct_pairs = {
            pair
            for clip_pairs in pairs.values()
            for pair in clip_pairs
            if self._empty_score is None or pair.hypothesis.strip()
        }
        # Similar lengths keep padding low. The pair itself breaks ties, because the order of a set
        # is not reproducible.
        ordered = sorted(distinct_pairs, key=lambda pair: (sum(map(len, pair)), pair))
        scores = dict(zip(ordered, self.score_pairs(ordered) if ordered else [], strict=True))
        return {
            clip_id: self._choose_best(scores.get(pair, self._empty_score or 0.0) for pair in some)
            for clip_id, some in pairs.items()
        }

    def compute(self, hypotheses: Texts, references: References) -> MetricResult:
        """Compute the corpus score with its signature and the scores of the clips."""
        clip_scores = self.compute_clip_scores(hypotheses, references)
        value = sum(clip_scores.values()) / len(clip_scores)
        return MetricResult(value, self.format_signature(), clip_scores)

    def compute_clip_statistics(
        self, hypotheses: Texts, references: References
    ) -> NDArray[np.float64]:
        """Compute the score of each clip and the number 1, (clips, 2)."""
        return build_mean_statistics(self.compute_clip_scores(hypotheses, references))

    def compute_score_from_sum(self, summed_statistics: NDArray[np.float64]) -> float:
        """Compute the mean score of a set of clips from the sum of their statistics."""
        return float(summed_statistics[0] / summed_statistics[1])


def build_mean_statistics(
    clip_scores: Mapping[str, float], clip_ids: Sequence[str] | None = None
) -> NDArray[np.float64]:
    """Return the statistics of a `ClipMeanMetric` for clip scores, (clips, 2).

    Args:
        clip_scores: Clip id → score.
        clip_ids: Clips in the order of the rows; zeros stand for one without a score. None: all
            clips with scores, in the order of sorted ids.
    """
    ids = sorted(clip_scores) if clip_ids is None else clip_ids
    return np.array([[clip_scores[i], 1.0] if i in clip_scores else [0.0, 0.0] for i in ids])


def check_same_clips(hypotheses: Texts, references: References) -> None:
    """Check that hypotheses and references are those of the same clips, and that there are some.

    Raises:
        InputError: If they are not, or a clip has no reference.
    """
    if not hypotheses or set(hypotheses) != set(references):
        unmatched_ids = sorted(set(hypotheses) ^ set(references))[:3]
        raise InputError(
            f"the ids of {len(hypotheses)} hypotheses and {len(references)} references differ;"
            f" not in both: {', '.join(unmatched_ids) or 'none, there are no clips'}"
        )
    missing = [clip_id for clip_id in sorted(references) if not references[clip_id]]
    if missing:
        raise InputError(f"{len(missing)} clips have no reference, the first is `{missing[0]}`")


@contextmanager
def isolate_scoring(device: torch.device | str) -> Iterator[None]:
    """Restore all random number generators afterwards, and disable gradients and autocast.

    Loading a model draws random numbers. Without this context, a run that scores while it trains
    would differ from one that was resumed and loads the model at another time.
    """
    kind = torch.device(device).type
    python_state, numpy_state = random.getstate(), np.random.get_state()
    cuda_devices = [torch.cuda.current_device()] if kind == "cuda" else []
    try:
        with (
            torch.random.fork_rng(devices=cuda_devices),
            torch.no_grad(),
            # Both kinds: parts of a metric may run on the CPU while training uses a GPU.
            torch.autocast(kind, enabled=False),
            torch.autocast("cpu", enabled=False),
        ):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
