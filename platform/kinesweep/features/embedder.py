"""Reads an embedder: a trained network that turns the frames of a motion into unit vectors.

Frames of two motions at the same moment of the movement get vectors that are near each other, so
that distances between them align clips where distances between joints would compare bodies and
places. `kinesweep embed` writes the folder: `embedder.json` (what it reads and gives, the network
as a program, how it was trained) and `embedder.safetensors` (its weights). Nothing in either is run
that is not in `features.program`'s table, so a folder from elsewhere can give wrong vectors or ask
for too much memory, but run nothing else. 3 ms a clip of 100 frames on one core with a CNN encoder.

Shapes: T frames, D width of the stream, E width of an embedding.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.core.hashing import file_sha256, fingerprint
from kinesweep.core.pose import PointLayout
from kinesweep.features.program import Program

DESCRIPTION = "embedder.json"
WEIGHTS = "embedder.safetensors"
FORMAT = 1


@dataclass(frozen=True)
class Embedder:
    """A network of frames, ready to be called.

    Attributes:
        stream: name of the stream that it was trained on.
        width: values a frame that it takes, D.
        size: values a frame that it gives, E.
        layout: the points whose coordinates a frame's values are, in order; None: no points.
        digest: 64 hexadecimal digits that name the network: its operations and its weights.
        score: what the training's validation said, by name; empty where there was none.
        features: the recipe's part of that name, which its frames came from; empty: not known.
    """

    stream: str
    width: int
    size: int
    layout: PointLayout | None
    digest: str
    score: dict[str, float]
    program: Program
    features: dict[str, Any] = field(default_factory=dict)

    def __call__(self, x_TD: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embeds each frame of one clip.

        Args:
            x_TD: frames as the feature store holds them, T ≥ 1.

        Returns:
            e_TE: float32, each row of length 1.

        Raises:
            InputError: no frames, another width, or values that are no finite numbers.
        """
        if x_TD.ndim != 2 or not len(x_TD) or x_TD.shape[1] != self.width:
            raise InputError(
                f"The embedder reads (T, {self.width}) frames of `{self.stream}`, but got"
                f" {tuple(x_TD.shape)}. Use a store with the features it was trained on."
            )
        if not np.isfinite(x_TD).all():
            raise InputError("The embedder got frames with values that are no finite numbers.")
        frames = torch.tensor(x_TD, dtype=torch.float32)
        return np.asarray(self.program(frames).numpy(), dtype=np.float32)


def read_embedder(folder: Path) -> Embedder:
    """The embedder that a folder holds.

    Raises:
        CheckpointError: there is none, or it is damaged, of another format, or does not hold
            together (widths).
    """
    plain = _described(folder)
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"`{folder / WEIGHTS}` cannot be read: {error}") from None
    try:
        layout = None if plain["layout"] is None else PointLayout.from_json(plain["layout"])
        program = Program(plain["program"], weights, str(folder / DESCRIPTION))
        found = Embedder(
            stream=str(plain["stream"]),
            width=int(plain["width"]),
            size=int(plain["size"]),
            layout=layout,
            digest=_name(plain),
            score={name: float(value) for name, value in plain["score"].items()},
            program=program,
            features=dict(plain.get("recipe", {}).get("features", {})),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, f"it lacks or misstates {error}") from None
    _try(found, folder)
    return found


def embedder_digest(folder: Path) -> str:
    """64 hexadecimal digits that name the network in a folder: its operations and its weights.

    Raises:
        CheckpointError: there is no embedder, or its weights are not those it was written with.
    """
    return _name(_described(folder))


def write_embedder(
    folder: Path, described: Mapping[str, Any], steps: list[list[Any]], weights: dict[str, Tensor]
) -> None:
    """Writes what `read_embedder` reads, the description last.

    Args:
        folder: is made; what lies there under these two names is replaced.
        described: `stream`, `width`, `size`, `layout` (plain or None), `score`, and what else is
            to be kept of the training (plain values).
        steps: of the program.
        weights: its tensors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION).unlink(missing_ok=True)
    save_file(weights, folder / WEIGHTS)
    plain = {
        "format": FORMAT,
        **described,
        "weights_sha256": file_sha256(folder / WEIGHTS),
        "program": steps,
    }
    text = json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def _name(plain: dict[str, Any]) -> str:
    parts = ("stream", "width", "size", "layout", "program", "weights_sha256")
    return fingerprint({part: plain.get(part) for part in parts})


def _described(folder: Path) -> dict[str, Any]:
    """What `embedder.json` says, after the weights are found to be those it names."""
    path, weights = folder / DESCRIPTION, folder / WEIGHTS
    if not path.is_file() or not weights.is_file():
        raise CheckpointError(
            f"`{folder}` holds no embedder (`{DESCRIPTION}` and `{WEIGHTS}`). Give the `best`"
            " folder that `kinesweep embed RECIPE` made."
        )
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(folder, f"`{DESCRIPTION}` is no JSON ({error})") from None
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        got = plain.get("format") if isinstance(plain, dict) else None
        raise CheckpointError(
            f"`{path}` is of format {got}, but this version reads {FORMAT}. Train it anew with"
            " `kinesweep embed`."
        )
    found = weights.stat()
    if _sha256(weights, found.st_size, found.st_mtime_ns) != plain.get("weights_sha256"):
        raise _damaged(folder, f"`{WEIGHTS}` is not the file it was written with (SHA-256)")
    return plain


@lru_cache(maxsize=16)
def _sha256(path: Path, num_bytes: int, changed_ns: int) -> str:
    """Read once a process, as long as size and time stay."""
    del num_bytes, changed_ns
    return file_sha256(path)


def _try(embedder: Embedder, folder: Path) -> None:
    """Runs two frames through it, so that what does not fit shows at once."""
    try:
        got = embedder(np.zeros((2, embedder.width), np.float32)).shape
    except (RuntimeError, TypeError, AttributeError, IndexError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _damaged(folder, f"its network cannot be run: {reason}") from None
    if got != (2, embedder.size):
        raise _damaged(folder, f"it gives {got} for two frames, not (2, {embedder.size})")


def _damaged(folder: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"The embedder in `{folder}` is damaged: {what}. Copy it again, or train it anew with"
        " `kinesweep embed`."
    )
