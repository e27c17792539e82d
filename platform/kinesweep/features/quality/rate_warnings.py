"""Warnings about frame rates: several rates in one stream of a corpus.

A model reads frames, not seconds. If the clips of a stream have different rates, the same movement
has different lengths, and a model may learn to recognize the camera. Rates within 1 % of each other
(29.97 and 30) count as one.
"""

from collections.abc import Mapping

from kinesweep.core.clip import CorpusWarning
from kinesweep.core.schema import RATE_TOLERANCE, count_rates, round_rate

# Rates that a message lists; measured rates of videos may differ from clip to clip.
_MAX_LISTED_RATES = 6


def find_rate_warnings(
    rates_by_clip: Mapping[str, float], stream: str = "pose", *, can_resample: bool = True
) -> list[CorpusWarning]:
    """Find out whether clips have several frame rates, which differ by more than 1 %.

    Args:
        rates_by_clip: Id of each clip → its frames per second.
        stream: Name of the stream, or of the corpus, for the message.
        can_resample: Whether `features.fps` can resample the stream, as it does with points.

    Returns:
        One warning of the kind `several_rates`, or none.
    """
    rates = sorted(rates_by_clip.values())
    if not rates or rates[-1] <= rates[0] * (1 + RATE_TOLERANCE):
        return []
    counts = count_rates(rates)
    # The first clip of each rate serves as an example.
    examples: dict[float, str] = {}
    for clip, rate in rates_by_clip.items():
        examples.setdefault(round_rate(rate), clip)
    listed = sorted(sorted(counts, key=lambda pair: -pair[1])[:_MAX_LISTED_RATES])
    rates_text = ", ".join(
        f"{rate:g} ({count} clip{'s' if count > 1 else ''}, such as `{examples[rate]}`)"
        for rate, count in listed
    )
    num_others = len(counts) - len(listed)
    others_text = f" and {num_others} other rates" if num_others else ""
    remedy = (
        "set `features.fps` to resample all clips to one rate"
        if can_resample
        else "extract the features at one rate"
    )
    message = (
        # Rates of the stream: a stride of 2 halves those of the files.
        f"clips have {len(counts)} different rates, in frames per second of the stream:"
        f" {rates_text}{others_text}; movements then differ in length by the camera, so {remedy}"
    )
    return [CorpusWarning(stream, "several_rates", message)]
