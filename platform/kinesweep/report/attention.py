"""The attention page: one HTML file that shows a model's attention in a clip for each token.

Weights are stored as 16-bit fixed point (step 0.000015) and points as integers, both in base64, so
that all layers and heads fit: 12 layers × 12 heads, 30 tokens and 100 frames take 1.2 MB. For long
clips, neighbouring vectors are summed and frames of skeletons are left out, and the page says so.
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

from kinesweep.evaluation.attention_inference import Attended
from kinesweep.models.attention_maps import Attention, AttentionSpan
from kinesweep.report.html import for_script, replace_text, template
from kinesweep.report.pose_scene import Scene

# Weights from 0 to 1 are scaled to the range of an unsigned 16-bit integer.
_STEPS = 65535
# Coordinates are scaled to -_REACH … _REACH and stored as signed 16-bit integers.
_REACH = 8000
# Marks a point that was not found; outside the range of coordinates.
_LOST = -32768
# Maximum number of weights, and of coordinates, in a page: 8 MB each in base64.
_MOST_NUMBERS = 3_000_000
# Maximum number of vectors side by side, about the number of pixels of a screen's width.
_MOST_VECTORS = 1000
# Kind of input that is not a frame → label in the page.
_GROUPS = {
    "prompt": "prompt",
    "separator": "separators",
    "after": "words after the frames",
    "end": "end of the input",
    "text": "text so far",
}


@dataclass(frozen=True)
class Page:
    """The content of a page.

    Attributes:
        clip: Display name of the clip.
        model: Display name of the model.
        attended: Generated text with the attention of each token.
        rates_hz: Stream → frame rate in Hz.
        lengths: Stream → number of frames.
        scenes: Streams whose points can be drawn.
        references: Reference texts, if known.
        notes: Caveats for the reader.
    """

    clip: str
    model: str
    attended: Attended
    rates_hz: Mapping[str, float]
    lengths: Mapping[str, int]
    scenes: Sequence[Scene] = ()
    references: Sequence[str] = ()
    notes: Sequence[str] = ()


def write_attention(path: Path, page: Page) -> Path:
    """Write the page and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = page_data(page)
    notes = [*page.notes, *_left_out(data)]
    rendered = template("attention.html.j2").render(page=page, notes=notes, data=for_script(data))
    replace_text(path, rendered)
    return path


def page_data(page: Page) -> dict[str, Any]:
    """Return the data of the page, which its script reads as JSON."""
    attended = page.attended
    layers, heads, _, _ = attended.attention.weights_AHLM.shape
    # One factor for all streams, so that their skeletons stay synchronous.
    every = ceil(sum(scene.points_TJC.size for scene in page.scenes) / _MOST_NUMBERS)
    return {
        "layers": layers,
        "heads": heads,
        "tokens": [{"text": token.text, "forced": token.forced} for token in attended.tokens],
        "groups": _groups(attended.attention),
        "tracks": [
            _track(page, attended.attention, places, first, end)
            for places in attended.attention.places
            for first, end in _runs(places)
        ],
        "scenes": [_scene(scene, attended.attention, max(1, every)) for scene in page.scenes],
    }


def _groups(attention: Attention) -> list[dict[str, str]]:
    """Return the summed weights (A, H, L) of each kind of input that is not a frame."""
    found = []
    for kind, name in _GROUPS.items():
        own = [places for places in attention.places if places.kind == kind]
        if sum(places.end - places.first for places in own):
            parts = [attention.weights_AHLM[..., p.first : p.end].sum(-1) for p in own]
            found.append({"name": name, "weights": _packed(sum(parts).cpu().numpy())})  # type: ignore[union-attr]
    return found


def _runs(places: AttentionSpan) -> list[tuple[int, int]]:
    """Split the vectors of a stream into runs that represent either frames or joints.

    Returns:
        Half-open ranges of vectors. An encoder may emit vectors of both kinds.
    """
    found, start = [], 0
    for _, group in groupby(places.stands, key=lambda stands: stands.joint is None):
        count = len(list(group))
        found.append((start, start + count))
        start += count
    return found


def _track(
    page: Page, attention: Attention, places: AttentionSpan, first: int, end: int
) -> dict[str, Any]:
    """Return one track of the page: neighbouring vectors, their weights, their frames or joints."""
    stands = places.stands[first:end]
    weights_AHLN = attention.weights_AHLM[..., places.first + first : places.first + end]
    kind = "frames" if stands[0].joint is None else "joints"
    # Only neighbouring frames may be summed; a sum over different joints would have no meaning.
    summed = 1
    if kind == "frames":
        # The larger factor wins: that for the size of the file or that for the screen's width.
        large = ceil(attention.weights_AHLM.numel() / _MOST_NUMBERS)
        summed = max(large, ceil(len(stands) / _MOST_VECTORS))
    starts = range(0, len(stands), summed)
    return {
        "stream": places.stream,
        "kind": kind,
        "summed": summed,
        "spans": [[stands[n].first, stands[n : n + summed][-1].end] for n in starts],
        "joints": [one.joint for one in stands] if kind == "joints" else None,
        "frames": page.lengths[places.stream],
        "rate": page.rates_hz[places.stream],
        # `reduceat` sums each block of `summed` vectors; sums of attention stay at most 1.
        "weights": _packed(np.add.reduceat(weights_AHLN.cpu().numpy(), starts, axis=-1)),
    }


def _left_out(data: Mapping[str, Any]) -> list[str]:
    """Return notes for a clip that is too long to be shown in full."""
    return [
        f"The clip is long: each bar of `{track['stream']}` is the sum of {track['summed']}"
        " neighbouring vectors."
        for track in data["tracks"]
        if track["summed"] > 1
    ] + [
        f"The clip is long: only one frame in {scene['every']} of `{scene['stream']}` is drawn."
        for scene in data["scenes"]
        if scene["every"] > 1
    ]


def _scene(scene: Scene, attention: Attention, every: int) -> dict[str, Any]:
    """Return the points over time, with the encoder's weight of each point if it exposes one."""
    sizes_N = np.abs(scene.points_TJC[scene.found_TJ]).ravel()
    # A single outlier far outside would leave too few integer steps for all other points.
    usual = 4 * float(np.quantile(sizes_N, 0.98)) if len(sizes_N) else 0.0
    largest = max(1e-9, min(usual, float(sizes_N.max(initial=0))))
    whole_TJC = np.rint(scene.points_TJC[::every] * (_REACH / largest)).clip(-_REACH, _REACH)
    whole_TJC = np.where(scene.found_TJ[::every, :, None], whole_TJC, _LOST)
    frames, points, coordinates = scene.points_TJC.shape
    joints = attention.joints.get(scene.stream)
    return {
        "stream": scene.stream,
        "rate": scene.rate_hz,
        "shape": [frames, points, coordinates],
        "every": every,
        "flat": scene.flat,
        "points": _base64(whole_TJC.astype("<i2")),
        "names": scene.names,
        "bones": scene.bones,
        "sides": scene.sides,
        "attention": None if joints is None else _relative(joints.cpu().numpy()),
    }


def _relative(values_TV: NDArray[np.float32]) -> dict[str, Any]:
    """Return values relative to the largest one, together with that value."""
    # Attention over many points is small; relative values use the whole range of 16 bits.
    largest = float(values_TV.max(initial=0)) or 1.0
    return {
        "largest": float(f"{largest:.4g}"),
        "joints": values_TV.shape[1],
        "values": _packed(values_TV / largest),
    }


def _packed(values: NDArray[np.float32]) -> str:
    """Return values between 0 and 1 as base64 of little-endian unsigned 16-bit integers."""
    return _base64(np.rint(values.clip(0, 1) * _STEPS).astype("<u2"))


def _base64(values: NDArray[Any]) -> str:
    """Return the bytes of an array in C order as base64."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
