"""Any metric of the library evaluate: a local folder with a script, or a metric on the hub.

The script is code that runs in this process, so one of the hub needs consent in the recipe. The
library does not tell which metrics are means over clips. By default a metric is called once for all
clips, and a ranking calls it again for each resample; `level: segment` calls it once for each clip.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.config.recipe.metrics import EvaluateMetricConfig
from kinesweep.core.errors import InputError
from kinesweep.evaluation.metrics.base import (
    ClipMeanMetric,
    ConfiguredMetric,
    MetricResult,
    References,
    TextPair,
    Texts,
)
from kinesweep.evaluation.metrics.torchmetrics_text import extract_score, format_arguments

_MAX_RESAMPLED_CLIPS = 5000
"""Clips up to which a corpus-level metric can be resampled; their statistics take 200 MB a run."""
_NUM_CORPUS_RESAMPLES = 200
"""Resamples of a metric that is called for each of them; its standard error is then within 5 %."""


class _Module:
    """A loaded metric of the library, which takes normalized texts and returns one number.

    Args:
        config: Name, arguments and key of the metric.

    Raises:
        InputError: If the library is not installed, the script cannot be loaded, or it is on the
            hub and the recipe does not allow to run it.
    """

    def __init__(self, config: EvaluateMetricConfig) -> None:
        self._config = config
        self._module = _load_module(config)
        self.takes_all_references = _takes_lists(self._module.features)

    def score(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
        """Compute the score of texts with one or more references each.

        A metric that takes one reference gets the first one of each text.

        Raises:
            InputError: If the script fails or does not return the key.
        """
        inputs: list[Any] = [
            list(some) if self.takes_all_references else some[0] for some in references
        ]
        try:
            result = self._module.compute(
                predictions=list(hypotheses), references=inputs, **self._config.arguments
            )
        # A script of others can fail in any way.
        except Exception as error:
            raise _build_error(self._config, error) from None
        return extract_score(self._config, result)


def _load_module(config: EvaluateMetricConfig) -> Any:
    """Load the script of a metric.

    Raises:
        InputError: See `_Module`.
    """
    if importlib.util.find_spec("evaluate") is None:
        raise InputError(
            "`evaluation.extra_metrics` names a metric of the library evaluate, which is not"
            ' installed; run `pip install "kinesweep[metrics]"`'
        )
    if not Path(config.name).exists() and not config.trust_remote_code:
        raise InputError(
            f"`evaluation.extra_metrics`: `{config.name}` is not a local folder, and the script of"
            " a metric on the hub is code that would run on this machine. Read it, then set"
            " `trust_remote_code: true`; or leave it out with `evaluation.extra_metrics=[]`"
        )
    import evaluate

    # Its bars would be drawn over the progress of the evaluation.
    evaluate.disable_progress_bar()
    try:
        return evaluate.load(
            config.name,
            config_name=config.config_name,
            revision=config.revision,
            # Otherwise texts go through a file in the user's cache, which other processes share.
            keep_in_memory=True,
        )
    except Exception as error:
        raise _build_error(config, error) from None


def _build_error(config: EvaluateMetricConfig, error: Exception) -> InputError:
    """Return the error that explains why a metric cannot be computed."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return InputError(
        f"`evaluation.extra_metrics`: `{config.name}` of the library evaluate cannot be computed:"
        f" {reason}"
    )


def _takes_lists(features: Any) -> bool:
    """Return whether a metric takes a list of references for each text."""
    schemas = features if isinstance(features, list) else [features]
    # A text is a `Value`; lists are of several types in the versions of the library datasets.
    return any(type(schema["references"]).__name__ != "Value" for schema in schemas)


class EvaluateSegmentMetric(ClipMeanMetric):
    """A metric of the library evaluate, called once for each clip; the corpus score is the mean.

    Of several references, a metric that takes one gets the one with the best score of the clip.

    Args:
        config: Name, arguments and direction of the metric.
        protocol: Normalization of hypotheses and references.

    Raises:
        InputError: See `_Module`.
    """

    def __init__(self, config: EvaluateMetricConfig, protocol: ScoringProtocol) -> None:
        super().__init__(
            config.score_name, protocol, lower_is_better=config.mode == "min", empty_score=None
        )
        self._config = config
        self._module = _Module(config)

    def format_settings(self) -> str:
        """Format the name, the arguments, the level and the library's version."""
        return _format_settings(self._config)

    def score_pairs(self, pairs: Sequence[TextPair]) -> list[float]:
        """Compute the score of each pair, one call each."""
        return [self._module.score([pair.hypothesis], [[pair.reference]]) for pair in pairs]

    def compute_clip_scores(self, hypotheses: Texts, references: References) -> dict[str, float]:
        """Compute clip id → score, in the order of sorted ids."""
        if not self._module.takes_all_references:
            return super().compute_clip_scores(hypotheses, references)
        texts, clip_references = self.normalize(hypotheses, references)
        return {
            clip_id: self._module.score([text], [some])
            for clip_id, text, some in zip(sorted(hypotheses), texts, clip_references, strict=True)
        }


class EvaluateCorpusMetric(ConfiguredMetric):
    """A metric of the library evaluate, called once for all clips.

    The statistics of a clip are the number of the corpus it belongs to and a 1 in a column of its
    own. A sum over clips therefore says how often each clip of which corpus was drawn, and the
    metric is called for these texts.

    Args:
        config: Name, arguments and direction of the metric.
        protocol: Normalization of hypotheses and references.

    Raises:
        InputError: See `_Module`.
    """

    num_resamples = _NUM_CORPUS_RESAMPLES

    def __init__(self, config: EvaluateMetricConfig, protocol: ScoringProtocol) -> None:
        super().__init__(config.score_name, protocol)
        self._config = config
        self._module = _Module(config)
        self._corpora: list[tuple[list[str], list[list[str]]]] = []

    def format_settings(self) -> str:
        """Format the name, the arguments, the level and the library's version."""
        return _format_settings(self._config)

    def compute(self, hypotheses: Texts, references: References) -> MetricResult:
        """Compute the corpus score with its signature."""
        score = self._module.score(*self.normalize(hypotheses, references))
        return MetricResult(score, self.format_signature())

    def compute_clip_statistics(
        self, hypotheses: Texts, references: References
    ) -> NDArray[np.float64]:
        """Return the number of the corpus and the position of each clip, (clips, 1 + clips).

        Raises:
            InputError: If there are too many clips for this.
        """
        corpus = self.normalize(hypotheses, references)
        num_clips = len(corpus[0])
        if num_clips > _MAX_RESAMPLED_CLIPS:
            raise InputError(
                f"`{self.metric}` cannot rank models on {num_clips} clips, because it is computed"
                f" from the texts of every resample (at most {_MAX_RESAMPLED_CLIPS} clips); set"
                " `level: segment` in its entry of `evaluation.extra_metrics`"
            )
        # Hypotheses differ between models, so each model is a corpus of its own.
        if corpus not in self._corpora:
            self._corpora.append(corpus)
        number = np.full((num_clips, 1), float(self._corpora.index(corpus)))
        return np.hstack([number, np.eye(num_clips)])

    def compute_score_from_sum(self, summed_statistics: NDArray[np.float64]) -> float:
        """Compute the score of the clips that a sum of statistics stands for."""
        counts = summed_statistics[1:].round().astype(int)
        # Every clip added the number of its corpus once.
        number = round(summed_statistics[0] / counts.sum())
        texts, references = self._corpora[number]
        positions = np.repeat(np.arange(len(counts)), counts)
        return self._module.score([texts[i] for i in positions], [references[i] for i in positions])


def _format_settings(config: EvaluateMetricConfig) -> str:
    """Format the settings of a metric and the library's version for its signature."""
    import evaluate

    parts: Mapping[str, str | None] = {"config": config.config_name, "revision": config.revision}
    settings = "".join(f"|{key}:{value}" for key, value in parts.items() if value)
    return (
        f"{format_arguments(config)}{settings}|level:{config.level}|evaluate:{evaluate.__version__}"
    )
