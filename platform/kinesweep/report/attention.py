"""The attention page: one HTML file that shows where in a clip a model looked for each token.

Weights lie in it as 16-bit fixed point (a step is 0.000015), points as whole numbers, both in
base64, so that all layers and heads fit: 12 × 12 of them, 30 tokens and 100 frames take 1.2 MB. Of
long clips neighbouring vectors are summed and frames of skeletons left out, and the page says so:
it stays below 20 MB, where 3,000 frames would take 59 MB and a browser 18 s to open. The page asks
no network and works out means over layers and heads itself.

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

from kinesweep.models.attention import Attention, Places
from kinesweep.report.html import for_script, replace_text, template
from kinesweep.report.scene import Scene
from kinesweep.training.attending import Attended

_STEPS = 65535
_REACH = 8000
"""Whole numbers on each side of 0 that points are put into."""
_LOST = -32768
_MOST_NUMBERS = 3_000_000
"""Weights, and as many coordinates, that a page holds; 8 MB each."""
_MOST_VECTORS = 1000
"""Beside each other: about as many as a screen has pixels for."""
_GROUPS = {
    "prompt": "prompt",
    "separator": "separators",
    "after": "words after the frames",
    "end": "end of the input",
    "text": "text so far",
}


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        clip: its name.
        model: its name.
        attended: what was said, and what was looked at.
        rates_hz: stream → frames a second.
        lengths: stream → frames.
        scenes: streams whose points can be drawn.
        references: what should have been said, where known.
        notes: what a reader must know.
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
    """Writes the page; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = page_data(page)
    notes = [*page.notes, *_left_out(data)]
    rendered = template("attention.html.j2").render(page=page, notes=notes, data=for_script(data))
    replace_text(path, rendered)
    return path


def page_data(page: Page) -> dict[str, Any]:
    """The page's JSON."""
    attended = page.attended
    layers, heads, _, _ = attended.attention.weights_AHLM.shape
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
    """What all places of a kind that are no frames get together, (A, H, L)."""
    found = []
    for kind, name in _GROUPS.items():
        own = [places for places in attention.places if places.kind == kind]
        if sum(places.end - places.first for places in own):
            parts = [attention.weights_AHLM[..., p.first : p.end].sum(-1) for p in own]
            found.append({"name": name, "weights": _packed(sum(parts).cpu().numpy())})  # type: ignore[union-attr]
    return found


def _runs(places: Places) -> list[tuple[int, int]]:
    """Vectors of a stream that stand for frames, or for joints, each kind by itself."""
    found, start = [], 0
    for _, group in groupby(places.stands, key=lambda stands: stands.joint is None):
        count = len(list(group))
        found.append((start, start + count))
        start += count
    return found


def _track(
    page: Page, attention: Attention, places: Places, first: int, end: int
) -> dict[str, Any]:
    """Vectors beside each other: their weights, and what each stands for."""
    stands = places.stands[first:end]
    weights_AHLN = attention.weights_AHLM[..., places.first + first : places.first + end]
    kind = "frames" if stands[0].joint is None else "joints"
    summed = 1
    if kind == "frames":
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
        "weights": _packed(np.add.reduceat(weights_AHLN.cpu().numpy(), starts, axis=-1)),
    }


def _left_out(data: Mapping[str, Any]) -> list[str]:
    """What a reader must know of a clip that is too long to be shown in full."""
    return [
        f"The clip is long: a bar of `{track['stream']}` is the sum of {track['summed']}"
        " neighbouring vectors."
        for track in data["tracks"]
        if track["summed"] > 1
    ] + [
        f"The clip is long: of `{scene['stream']}` one frame in {scene['every']} is drawn."
        for scene in data["scenes"]
        if scene["every"] > 1
    ]


def _scene(scene: Scene, attention: Attention, every: int) -> dict[str, Any]:
    """Points over time, and how much each counts where the encoder says so."""
    sizes_N = np.abs(scene.points_TJC[scene.found_TJ]).ravel()
    # A point that was misplaced far outside would leave too few steps to the others.
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
    """Values as shares of the largest, which stands beside them."""
    largest = float(values_TV.max(initial=0)) or 1.0
    return {
        "largest": float(f"{largest:.4g}"),
        "joints": values_TV.shape[1],
        "values": _packed(values_TV / largest),
    }


def _packed(values: NDArray[np.float32]) -> str:
    """Values between 0 and 1."""
    return _base64(np.rint(values.clip(0, 1) * _STEPS).astype("<u2"))


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
