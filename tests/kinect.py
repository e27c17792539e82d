"""A corpus of single signs, recorded like those of a Kinect: 8 joints of several signers; by code.

A word is a path of both hands. Signers differ in size, place, speed and noise, and each signs every
word several times, never twice in the same way.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

POINTS = (
    *("head", "shoulder_center", "shoulder_left", "elbow_left", "hand_left"),
    *("shoulder_right", "elbow_right", "hand_right"),
)
SKELETON = {
    "points": list(POINTS),
    "bones": [
        ["shoulder_center", "head"],
        *(
            [first, second]
            for side in ("left", "right")
            for first, second in (
                ("shoulder_center", f"shoulder_{side}"),
                (f"shoulder_{side}", f"elbow_{side}"),
                (f"elbow_{side}", f"hand_{side}"),
            )
        ),
    ],
    "root": "shoulder_center",
}
_TRUNK = ((0, 0.3, 0), (0, 0, 0))
_ARM = ((0.2, 0, 0), (0.25, -0.3, 0.0), (0.2, -0.5, 0.1))
_REST = np.array([*_TRUNK, *((-x, y, z) for x, y, z in _ARM), *_ARM])
"""Joints of someone who stands still, in metres from between the shoulders."""
_NUM_WAVES = 3


def write_kinect_corpus(
    folder: Path, words: int = 30, signers: int = 10, takes: int = 9, seed: int = 0
) -> Path:
    """Writes `motions/*.npy`, each (T, 8, 3), and `all.tsv`; 2,700 clips unless told otherwise."""
    rng = np.random.default_rng(seed)
    (folder / "motions").mkdir(parents=True)
    # Word → amplitudes and phases of both hands in three directions.
    amplitudes = rng.normal(0, 0.1, (words, 2, _NUM_WAVES, 3))
    phases = rng.uniform(0, 2 * np.pi, (words, 2, _NUM_WAVES, 3))
    rows = ["id\tmotion\ttext\tsigner"]
    for signer in range(signers):
        size, place = rng.uniform(0.85, 1.15), rng.normal((0, 0, 2.5), 0.3)
        speed, noise = rng.uniform(0.8, 1.25), rng.uniform(0.005, 0.015)
        # An accent: each signer exaggerates some movements and begins others later.
        habit = rng.normal(1, 0.3, amplitudes.shape[1:])
        delay = rng.normal(0, 0.3, (1, _NUM_WAVES, 1))
        turn = _turn(rng.normal(0, 0.2))
        for word in range(words):
            for take in range(takes):
                path_TJC = _sign(amplitudes[word] * habit, phases[word] + delay, speed, rng)
                x_TJC = place + size * path_TJC @ turn + rng.normal(0, noise, path_TJC.shape)
                name = f"s{signer}_w{word}_{take}"
                np.save(folder / "motions" / f"{name}.npy", x_TJC.astype(np.float32))
                rows.append(f"{name}\t{name}.npy\tword{word}\tsigner{signer}")
    (folder / "all.tsv").write_text("\n".join(rows) + "\n")
    return folder / "all.tsv"


def _turn(angle: float) -> NDArray[np.float64]:
    """A turn to a side of the camera."""
    sine, cosine = np.sin(angle), np.cos(angle)
    return np.array([(cosine, 0, sine), (0, 1, 0), (-sine, 0, cosine)])


def _sign(
    amplitudes: NDArray[np.float64],
    phases: NDArray[np.float64],
    speed: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Joints (T, 8, 3) of one word; the elbows follow the hands half of the way."""
    num_frames = int(rng.uniform(30, 45) / speed)
    t_T = np.linspace(0, 1, num_frames)
    x_TJC = np.tile(_REST, (num_frames, 1, 1))
    waves = np.arange(1, _NUM_WAVES + 1)
    for side, (elbow, hand) in enumerate(((3, 4), (6, 7))):
        angles_TWC = 2 * np.pi * t_T[:, None, None] * waves[:, None] + phases[side]
        scale = rng.normal(1, 0.08, (1, 1, 3))
        moved_TC = (amplitudes[side] * scale * np.sin(angles_TWC)).sum(1)
        lift_TC = np.sin(np.pi * t_T)[:, None] * (0, 0.35, 0.1)
        x_TJC[:, hand] += moved_TC + lift_TC
        x_TJC[:, elbow] += (moved_TC + lift_TC) / 2
    return x_TJC
