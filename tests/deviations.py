"""A corpus whose texts say how a motion differs from its reference; by code.

Where the body is varies three times as widely as the deviation that the text names, so a clip alone
does not tell; its difference from its own reference does, and from another one it does not.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shards import SPLITS, write_shard

GROUPS = {"left arm": (13, 16, 18, 20), "right arm": (14, 17, 19, 21), "left leg": (1, 4, 7, 10)}
"""Part of the body → its joints of SMPL's 22."""
WAYS = {"hangs too low today": (1, -1.0), "must come down more": (1, 1.0)}
WAYS |= {"reaches far in front": (2, 1.0), "stays behind your back": (2, -1.0)}
"""What is said → which coordinate is off, and how far."""
WIDE = 3.0
CLIPS = {"train": 600, "dev": 48}


def deviation_corpus(
    folder: Path, joints: int = 22, references: bool = True, clips: Mapping[str, int] = CLIPS
) -> dict[str, Any]:
    """Writes streams `pose` and `reference`; the `source` part of a recipe that reads them.

    Args:
        folder: where.
        joints: J; D is 3 J.
        references: whether there are any.
        clips: word in the names of the files → how many, in one video.
    """
    rng = np.random.default_rng(0)
    streams = ("pose", "reference") if references else ("pose",)
    for token, count in clips.items():
        video, names = f"{token}_video", [f"clip_{n:03d}" for n in range(count)]
        plain: dict[str, Any] = {"clip_order": names}
        held: dict[str, dict[str, NDArray[np.float16]]] = {name: {} for name in streams}
        for name in names:
            text, pose_TD, reference_TD = _clip(rng, joints)
            plain[name] = {"translation": text, "paraphrases": [], "keywords": []}
            for stream, x_TD in zip(streams, (pose_TD, reference_TD), strict=False):
                held[stream][name] = x_TD
        for stream in streams:
            place = folder / stream
            place.mkdir(parents=True, exist_ok=True)
            write_shard(place / f"{stream}.{token}.0.h5", video, held[stream])
            _write(place / f"metadata_{stream}.{token}.json", {video: 0})
        _write(folder / f"annotation.{token}.json", {video: plain})
    tables = {SPLITS[token]: str(folder / f"annotation.{token}.json") for token in clips}
    named = [{"name": name, "fps": 20.0} for name in streams]
    return {"kind": "h5_shards", **tables, "streams": named}


def _clip(
    rng: np.random.Generator, joints: int
) -> tuple[str, NDArray[np.float16], NDArray[np.float16]]:
    """A text, and a motion and its reference (T, D)."""
    frames = int(rng.integers(4, 9))
    place_1JC = rng.normal(size=(1, joints, 3)) * WIDE
    phase = rng.uniform(0, 2 * np.pi, (1, joints, 3))
    reference_TJC = place_1JC + 0.5 * np.sin(np.arange(frames)[:, None, None] / 3 + phase)
    group, way = rng.choice(list(GROUPS)), rng.choice(list(WAYS))
    axis, far = WAYS[way]
    pose_TJC = reference_TJC + 0.1 * rng.normal(size=reference_TJC.shape)
    pose_TJC[:, GROUPS[group], axis] += far
    flat = [x_TJC.reshape(frames, -1).astype(np.float16) for x_TJC in (pose_TJC, reference_TJC)]
    return f"your {group} {way}", flat[0], flat[1]


def _write(path: Path, plain: Any) -> None:
    path.write_text(json.dumps(plain), encoding="utf-8")
