"""Attention and points of a clip as JSON: what a page or a program draws.

The attention of each token is its mean over layers and heads. Long clips are shortened: neighboring
vectors are summed, and frames of skeletons are left out.

Shapes: A layers, H heads, L tokens, M input vectors, T frames, J points, C coordinates.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np

from kinesweep.evaluation.attention_inference import TranslationWithAttention
from kinesweep.models.attention_maps import AttentionSpan
from kinesweep.report.pose_scene import PoseScene

# About the number of pixels of a phone's width.
_MAX_COLUMNS = 300
# Coordinates of all frames; about 2 MB of JSON.
_MAX_COORDINATES = 300_000
_MAX_COORDINATE = 1000


def summarize_attention(
    attended: TranslationWithAttention, rates_hz: Mapping[str, float]
) -> dict[str, Any]:
    """Summarize the attention of each token to the frames of each stream.

    Args:
        attended: Translation with its attention.
        rates_hz: Stream → frames per second.

    Returns:
        `tokens`, and for each stream its `rate_hz`, the half-open ranges of frames of its columns
        as `spans`, and the `weights` of each token for them. Weights of a token sum to at most 1;
        the rest is attention to prompts, separators and earlier tokens.
    """
    weights_LM = attended.attention.weights_AHLM.float().mean(dim=(0, 1)).cpu().numpy()
    streams = {}
    for span in attended.attention.spans:
        # Vectors of joints stand for no frame.
        columns = [index for index, source in enumerate(span.source_spans) if source.joint is None]
        if span.kind == "stream" and columns:
            rate_hz = rates_hz[span.stream]
            streams[span.stream] = _summarize_stream(weights_LM, span, columns, rate_hz)
    return {"tokens": [token.text for token in attended.tokens], "streams": streams}


def _summarize_stream(
    weights_LM: Any, span: AttentionSpan, columns: list[int], rate_hz: float
) -> dict[str, Any]:
    """Summarize the attention to the vectors of one stream that represent frames.

    Args:
        weights_LM: Mean attention of each token.
        span: Input vectors of the stream.
        columns: Indices of the vectors in the span.
        rate_hz: Frames per second.
    """
    block = ceil(len(columns) / _MAX_COLUMNS)
    starts = list(range(0, len(columns), block))
    blocks = [columns[start : start + block] for start in starts]
    chosen_LN = weights_LM[:, [span.first + index for index in columns]]
    return {
        "rate_hz": rate_hz,
        "spans": [
            [span.source_spans[one[0]].first, span.source_spans[one[-1]].end] for one in blocks
        ],
        # As float64: the digits of rounded float32 values would double the size of the JSON.
        "weights": np.add.reduceat(chosen_LN.astype(float), starts, axis=1).round(5).tolist(),
    }


def summarize_scene(scene: PoseScene) -> dict[str, Any]:
    """Convert the points of a stream to integers for drawing: x to the right, y down.

    Args:
        scene: Points of the stream.

    Returns:
        `names`, `bones` (pairs of point indices), `sides` (-1 left, 0, 1 right), `rate_hz` of the
        frames in `frames`, `box` (left, top, right, bottom), and `frames`: x and y of each point,
        null where it was not detected.
    """
    every = max(
        1, ceil(scene.points_TJC.shape[0] * scene.points_TJC.shape[1] * 2 / _MAX_COORDINATES)
    )
    points_TJ2, detected_TJ = scene.points_TJC[::every, :, :2], scene.detected_TJ[::every]
    seen_N2 = points_TJ2[detected_TJ]
    # Quantiles: a single outlier far outside would make all other points one dot.
    low, high = np.quantile(seen_N2, (0.005, 0.995), axis=0) if len(seen_N2) else np.zeros((2, 2))
    scale = _MAX_COORDINATE / max(float((high - low).max()), 1e-9)
    scaled_TJ2 = np.rint((points_TJ2 - low) * scale).clip(-_MAX_COORDINATE, 2 * _MAX_COORDINATE)
    frames = [
        [[int(x), int(y)] if seen else None for (x, y), seen in zip(frame, mask, strict=True)]
        for frame, mask in zip(np.nan_to_num(scaled_TJ2), detected_TJ, strict=True)
    ]
    return {
        "names": scene.names,
        "bones": scene.bones,
        "sides": scene.sides,
        "rate_hz": scene.rate_hz / every,
        "box": [0, 0, *np.rint((high - low) * scale).astype(int).tolist()],
        "frames": frames,
    }
