"""The attention page: one HTML file that shows a model's attention in a clip for each token.

Weights are stored as 16-bit fixed point (step 0.000015) and points as integers, both in base64, so
that all layers and heads fit: 12 layers × 12 heads, 30 tokens and 100 frames take 1.2 MB. For long
clips, neighboring vectors are summed and frames of skeletons are left out, and the page says so.
This keeps a page below 20 MB; without it, 3,000 frames would take 59 MB and a browser 18 s to open.
The page makes no network requests and computes means over layers and heads itself.

Shapes: A layers, H heads, L tokens, N vectors, T frames, J points, C coordinates, V joints.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.io import write_text
from kinesweep.evaluation.attention_inference import TranslationWithAttention
from kinesweep.models.attention_maps import AttentionMap, AttentionSpan
from kinesweep.report.html import encode_script_json, load_template
from kinesweep.report.pose_scene import PoseScene

# Weights from 0 to 1 are scaled to the range of an unsigned 16-bit integer.
_MAX_FIXED_POINT = 65535
# Coordinates are scaled to -_MAX_COORDINATE … _MAX_COORDINATE and stored as signed 16-bit integers.
_MAX_COORDINATE = 8000
# Marks a point that was not detected; outside the range of coordinates.
_MISSING_POINT = -32768
# Maximum number of weights, and of coordinates, in a page: 8 MB each in base64.
_MAX_NUMBERS = 3_000_000
# Maximum number of vectors side by side, about the number of pixels of a screen's width.
_MAX_VECTORS = 1000
# Kind of input vectors that do not represent frames or joints → label in the page.
_GROUP_LABELS = {
    "prompt": "prompt",
    "separator": "separators",
    "after": "words after the frames",
    "end": "end of the input",
    "text": "text so far",
}


@dataclass(frozen=True)
class AttentionPage:
    """The content of an attention page.

    Attributes:
        clip: Display name of the clip.
        model: Display name of the model.
        translation: Generated text with the attention of each token.
        rates_hz: Feature stream → frame rate in Hz.
        lengths: Feature stream → number of frames.
        scenes: Streams whose points can be drawn.
        references: Reference texts, if known.
        notes: Caveats for the reader.
    """

    clip: str
    model: str
    translation: TranslationWithAttention
    rates_hz: Mapping[str, float]
    lengths: Mapping[str, int]
    scenes: Sequence[PoseScene] = ()
    references: Sequence[str] = ()
    notes: Sequence[str] = ()


def write_attention_html(path: Path, page: AttentionPage) -> Path:
    """Write an attention page as one HTML file, replacing the file atomically.

    Args:
        path: Output file; missing parent folders are created.
        page: Content of the page.

    Returns:
        `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = build_attention_data(page)
    notes = [*page.notes, *_format_truncation_notes(data)]
    rendered = load_template("attention.html.j2").render(
        page=page,
        hypothesis=page.translation.text,
        notes=notes,
        data=encode_script_json(data),
    )
    write_text(path, rendered)
    return path


def build_attention_data(page: AttentionPage) -> dict[str, Any]:
    """Build the data of an attention page, which the script in the page reads as JSON.

    Weights and points are base64 texts (see the description of this module).
    """
    attended = page.translation
    num_layers, num_heads, _, _ = attended.attention.weights_AHLM.shape
    # One factor for all streams, so that their skeletons stay synchronous.
    frame_stride = ceil(sum(scene.points_TJC.size for scene in page.scenes) / _MAX_NUMBERS)
    return {
        "layers": num_layers,
        "heads": num_heads,
        "tokens": [{"text": token.text, "forced": token.forced} for token in attended.tokens],
        "groups": _sum_group_weights(attended.attention),
        "tracks": [
            _build_track(page, attended.attention, span, first, end)
            for span in attended.attention.spans
            for first, end in _split_by_source_kind(span)
        ],
        "scenes": [
            _encode_scene(scene, attended.attention, max(1, frame_stride)) for scene in page.scenes
        ],
    }


def _sum_group_weights(attention: AttentionMap) -> list[dict[str, str]]:
    """Sum the weights of each kind of input vectors that do not represent frames or joints.

    Returns:
        For each kind with at least one vector, its `name` in the page and its `weights` (A, H, L)
        as base64.
    """
    groups = []
    for kind, label in _GROUP_LABELS.items():
        spans = [span for span in attention.spans if span.kind == kind]
        if sum(span.end - span.first for span in spans):
            weights_AHL = sum(
                attention.weights_AHLM[..., span.first : span.end].sum(-1) for span in spans
            )
            groups.append(
                {"name": label, "weights": _encode_fixed_point(weights_AHL.cpu().numpy())}  # type: ignore[union-attr]
            )
    return groups


def _split_by_source_kind(span: AttentionSpan) -> list[tuple[int, int]]:
    """Split the vectors of a stream into sections that represent either frames or joints.

    Returns:
        Half-open ranges of indices into `span.source_spans`. An encoder may emit vectors of both
        kinds.
    """
    ranges, start = [], 0
    for _, sources in groupby(span.source_spans, key=lambda source: source.joint is None):
        num_vectors = len(list(sources))
        ranges.append((start, start + num_vectors))
        start += num_vectors
    return ranges


def _build_track(
    page: AttentionPage, attention: AttentionMap, span: AttentionSpan, first: int, end: int
) -> dict[str, Any]:
    """Build one track of the page: adjacent vectors with their weights and frames or joints.

    Args:
        page: Content of the page.
        attention: Attention weights of the clip.
        span: Input vectors of one feature stream.
        first: Index of the track's first vector in `span.source_spans`.
        end: Index after the track's last vector.
    """
    sources = span.source_spans[first:end]
    weights_AHLN = attention.weights_AHLM[..., span.first + first : span.first + end]
    kind = "frames" if sources[0].joint is None else "joints"
    # Only neighboring frames may be summed; a sum over different joints would have no meaning.
    block_size = 1
    if kind == "frames":
        # The larger factor wins: that for the size of the file or that for the screen's width.
        min_block_size = ceil(attention.weights_AHLM.numel() / _MAX_NUMBERS)
        block_size = max(min_block_size, ceil(len(sources) / _MAX_VECTORS))
    starts = range(0, len(sources), block_size)
    return {
        "stream": span.stream,
        "kind": kind,
        "summed": block_size,
        "spans": [
            [sources[start].first, sources[start : start + block_size][-1].end] for start in starts
        ],
        "joints": [source.joint for source in sources] if kind == "joints" else None,
        "frames": page.lengths[span.stream],
        "rate": page.rates_hz[span.stream],
        # `reduceat` sums each block of `block_size` vectors; sums of attention stay at most 1.
        "weights": _encode_fixed_point(
            np.add.reduceat(weights_AHLN.cpu().numpy(), starts, axis=-1)
        ),
    }


def _format_truncation_notes(data: Mapping[str, Any]) -> list[str]:
    """Format the notes that say how the page shortens a long clip; none for a short one."""
    return [
        f"The clip is long: each bar of `{track['stream']}` is the sum of {track['summed']}"
        " neighboring vectors."
        for track in data["tracks"]
        if track["summed"] > 1
    ] + [
        f"The clip is long: only one frame in {scene['every']} of `{scene['stream']}` is drawn."
        for scene in data["scenes"]
        if scene["every"] > 1
    ]


def _encode_scene(scene: PoseScene, attention: AttentionMap, frame_stride: int) -> dict[str, Any]:
    """Encode the points of a scene over time, and the encoder's attention to them if it has any.

    Coordinates of distant outliers are clipped.

    Args:
        scene: Scene of one feature stream.
        attention: Attention of the clip, which may contain joint weights of the stream's encoder.
        frame_stride: Only every n-th frame is encoded.

    Returns:
        One element of `scenes` in the data of the page.
    """
    magnitudes_N = np.abs(scene.points_TJC[scene.detected_TJ]).ravel()
    # A single outlier far outside would leave too few integer steps for all other points.
    upper_limit = 4 * float(np.quantile(magnitudes_N, 0.98)) if len(magnitudes_N) else 0.0
    largest = max(1e-9, min(upper_limit, float(magnitudes_N.max(initial=0))))
    scaled_TJC = np.rint(scene.points_TJC[::frame_stride] * (_MAX_COORDINATE / largest)).clip(
        -_MAX_COORDINATE, _MAX_COORDINATE
    )
    scaled_TJC = np.where(scene.detected_TJ[::frame_stride, :, None], scaled_TJC, _MISSING_POINT)
    joint_weights_TV = attention.joint_weights.get(scene.stream)
    return {
        "stream": scene.stream,
        "rate": scene.rate_hz,
        "shape": list(scene.points_TJC.shape),
        "every": frame_stride,
        "flat": scene.is_flat,
        "points": _encode_base64(scaled_TJC.astype("<i2")),
        "names": scene.names,
        "bones": scene.bones,
        "sides": scene.sides,
        "attention": (
            None
            if joint_weights_TV is None
            else _encode_relative_values(joint_weights_TV.cpu().numpy())
        ),
    }


def _encode_relative_values(values_TV: NDArray[np.float32]) -> dict[str, Any]:
    """Encode the weights of joints over time relative to the largest one.

    Returns:
        `largest`: the largest weight. `joints`: the number of joints. `values`: the relative
        weights as base64.
    """
    # Attention over many points is small; relative values use the whole range of 16 bits.
    largest = float(values_TV.max(initial=0)) or 1.0
    return {
        "largest": float(f"{largest:.4g}"),
        "joints": values_TV.shape[1],
        "values": _encode_fixed_point(values_TV / largest),
    }


def _encode_fixed_point(values: NDArray[np.float32]) -> str:
    """Encode values from 0 to 1 as base64 of little-endian unsigned 16-bit integers."""
    return _encode_base64(np.rint(values.clip(0, 1) * _MAX_FIXED_POINT).astype("<u2"))


def _encode_base64(values: NDArray[Any]) -> str:
    """Encode the bytes of an array in C order as base64."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
