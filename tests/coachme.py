"""Twins of CoachMe's pickles in the form of its README: boxing and skating, with standards."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

TYPES = {"boxing": ("Jab", "Cross"), "skating": ("Single_Axel", "Double_Axel", "Loop", "Lutz")}
SETTINGS = ("gt", "error", "aligned")
WORDS = {
    "Jab": "jab", "Cross": "cross",
    "Single_Axel": "single", "Double_Axel": "double", "Loop": "loop", "Lutz": "lutz",
}  # fmt: skip


def motion(seed: int, frames: int) -> torch.Tensor:
    """Coordinates (T, 66), all different."""
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(frames, 66)).astype(np.float32))


def segment(setting: str, start: int, standard_start: int, length: int) -> dict[str, int]:
    """The five keys of a setting."""
    return {
        f"{setting}_start_frame": start,
        f"{setting}_end_frame": start + length,
        f"{setting}_std_start_frame": standard_start,
        f"{setting}_std_end_frame": standard_start + length,
        f"{setting}_seq_len": length,
    }


def record(sport: str, number: int, settings: tuple[str, ...], odd: bool = False) -> dict[str, Any]:
    """One entry; `odd`: segments that reach beyond motions, are empty or negative, too."""
    rng = np.random.default_rng(number)
    kind = TYPES[sport][number % len(TYPES[sport])]
    frames = int(rng.integers(16, 24))
    whole = {
        "video_name": f"{number % 7}_front_{number}" if sport == "boxing" else f"4852{number:04}",
        "motion_type": kind,
        "coordinates": motion(number, frames),
        "labels": [f"{WORDS[kind]} lower {number}.", f"{WORDS[kind]} lift."][: 1 + number % 2],
        "augmented_labels": [f"{WORDS[kind]} anew {number} {n}." for n in range(2)],
        "original_seq_len": frames,
    }
    if sport == "boxing":
        whole["camera_view"] = str(1 + number % 3)
    for setting in settings:
        if odd:
            first, other, length = (int(rng.integers(-4, 26)) for _ in range(3))
        else:
            length = int(rng.integers(4, 9))
            first, other = int(rng.integers(0, frames - length)), int(rng.integers(0, 9))
        whole |= segment(setting, first, other, length)
    return whole


def records(sport: str, count: int, odd: bool = False, start: int = 0) -> list[dict[str, Any]]:
    """Boxing: one entry a clip. Skating: whole videos, and two instructions about each."""
    found = []
    for number in range(start, start + count):
        if sport == "boxing":
            found.append(record(sport, number, SETTINGS, odd))
            continue
        whole = record(sport, number, ("aligned", "error"), odd)
        for part in range(2):
            # Instructions share the coordinates of the video, with frames and labels of their own.
            named = {"video_name": f"{whole['video_name']}_{part}", "labels": [f"part {part}."]}
            other = record(sport, number + 4000 * (1 + part), ("gt",), odd)
            found.append({**other, **{k: whole[k] for k in SHARED}, **named})
        found.append({k: v for k, v in whole.items() if k != "augmented_labels"})
    return found


SHARED = ("motion_type", "coordinates", "original_seq_len")


def standards(sport: str) -> list[dict[str, Any]]:
    """A standard of 20 frames for each type."""
    return [
        {"video_name": kind, "motion_type": kind, "coordinates": motion(900 + n, 20)}
        for n, kind in enumerate(TYPES[sport])
    ]


def write(path: Path, value: Any) -> Path:
    path.write_bytes(pickle.dumps(value))
    return path


def joints(entry: dict[str, Any]) -> NDArray[np.float32]:
    """Coordinates (T, 22, 3): point by point x, y and z."""
    return np.array([[frame[3 * j : 3 * j + 3] for j in range(22)] for frame in entry["coordinates"].tolist()], np.float32)  # noqa: E501  # fmt: skip
