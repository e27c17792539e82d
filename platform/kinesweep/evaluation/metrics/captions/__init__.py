"""Caption metrics with the tokenizers and rules of nlg-metricverse, coco-caption and nlg-eval.

Publications on motion captioning report scores of these packages, which differ from sacreBLEU's and
from each other in tokens, reference lengths and smoothing. Scores equal those of the packages on
texts with one or several references, except for two defects that are not repeated: ROUGE of
nlg-metricverse is the median of random resamples, here it is the mean; and its CIDEr takes clips
with one reference each for one clip with many.
"""

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.config.recipe.scores.captions import CaptionMetricConfig
from kinesweep.evaluation.metrics.base import ConfiguredMetric
from kinesweep.evaluation.metrics.captions.corpus_bleu import CaptionBleu
from kinesweep.evaluation.metrics.captions.mean_metrics import CaptionCider, CaptionRouge


def build_caption_metric(
    config: CaptionMetricConfig, protocol: ScoringProtocol
) -> ConfiguredMetric:
    """Build a caption metric.

    Args:
        config: Name and package of the metric.
        protocol: Normalization of texts before the package's own.
    """
    # BLEU sums counts over the corpus; the others average the scores of clips.
    if config.name.startswith("bleu"):
        return CaptionBleu(config, protocol)
    return (CaptionRouge if config.name == "rouge_l" else CaptionCider)(config, protocol)
