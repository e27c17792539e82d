"""Frame embedders: trained networks that map the frames of a motion to unit vectors.

Frames at the same phase of two motions get nearby vectors, so distances between embeddings align
motions, whereas distances between joints would compare body shapes and positions. `kinesweep
train-embedder` writes the folder: `embedder.json` (inputs and outputs, the traced network, training
details) and `embedder.safetensors` (weights). Only operations of the table in
`features.traced_network` are executed, so an untrusted folder can produce wrong vectors or allocate
too much memory, but cannot run other code. A clip of 100 frames takes 3 ms on one core with a CNN
encoder.

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
from kinesweep.core.hashing import compute_file_sha256, compute_fingerprint
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.features.traced_network import TracedNetwork

DESCRIPTION_FILE = "embedder.json"
WEIGHTS_FILE = "embedder.safetensors"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Embedder:
    """A loaded frame embedder, ready to be called.

    Attributes:
        stream: Name of the stream that it was trained on.
        input_width: Number of input values per frame, D.
        output_width: Number of output values per frame, E.
        layout: Points whose coordinates form a frame, in their order; None if frames hold no
            points.
        digest: Hash of the operations and weights, 64 hexadecimal digits.
        scores: Name → validation score of the training; empty without validation.
        network: Traced network.
        features_config: Section `features` of the recipe of the training data; empty if unknown.
    """

    stream: str
    input_width: int
    output_width: int
    layout: PointLayout | None
    digest: str
    scores: dict[str, float]
    network: TracedNetwork
    features_config: dict[str, Any] = field(default_factory=dict)

    def __call__(self, x_TD: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embed each frame of a clip.

        Args:
            x_TD: Frames as stored in the feature store, T ≥ 1.

        Returns:
            Embeddings (T, E), float32; each row has length 1.

        Raises:
            InputError: If there are no frames, the width differs or a value is not finite.
        """
        if x_TD.ndim != 2 or not len(x_TD) or x_TD.shape[1] != self.input_width:
            raise InputError(
                f"The embedder expects (T, {self.input_width}) frames of `{self.stream}`, but got"
                f" {tuple(x_TD.shape)}. Use a store with the features it was trained on."
            )
        if not np.isfinite(x_TD).all():
            raise InputError("The frames given to the embedder contain non-finite values.")
        # A copy: feature stores hand out read-only arrays, which torch would warn about.
        frames = torch.tensor(x_TD, dtype=torch.float32)
        return np.asarray(self.network(frames).numpy(), dtype=np.float32)


def read_embedder(folder: Path) -> Embedder:
    """Read the embedder in a folder and check that its network can be run.

    Raises:
        CheckpointError: If there is no embedder, or if it is damaged, has another format version or
            is inconsistent, for example in its widths.
    """
    description = _read_description(folder)
    try:
        weights = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"`{folder / WEIGHTS_FILE}` cannot be read: {error}") from None
    try:
        layout = (
            None if description["layout"] is None else PointLayout.from_json(description["layout"])
        )
        program = TracedNetwork(description["program"], weights, str(folder / DESCRIPTION_FILE))
        embedder = Embedder(
            stream=str(description["stream"]),
            input_width=int(description["width"]),
            output_width=int(description["size"]),
            layout=layout,
            digest=_hash_description(description),
            scores={name: float(value) for name, value in description["score"].items()},
            network=program,
            features_config=dict(description.get("recipe", {}).get("features", {})),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _make_damaged_error(folder, f"an entry is missing or invalid: {error}") from None
    _check_output_shape(embedder, folder)
    return embedder


def compute_embedder_digest(folder: Path) -> str:
    """Compute a hash of the embedder in a folder (operations and weights), 64 hexadecimal digits.

    Raises:
        CheckpointError: If there is no embedder, its description is damaged or has another format
            version, or its weights file was replaced.
    """
    return _hash_description(_read_description(folder))


def write_embedder(
    folder: Path, description: Mapping[str, Any], steps: list[list[Any]], weights: dict[str, Tensor]
) -> None:
    """Write an embedder that `read_embedder` can read.

    Args:
        folder: Output folder. It is created if needed, and an embedder in it is replaced.
        description: Values of `stream`, `width`, `size`, `layout` (as JSON values, or None) and
            `score`, and further JSON values that document the training.
        steps: Steps of the traced network, in the format of `features.traced_network`.
        weights: Name → tensor of the traced network.

    Raises:
        ValueError: If the description contains a number that is not finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # The description is removed first and written last. A folder from an interrupted call
    # therefore has no description and is not read as an embedder.
    (folder / DESCRIPTION_FILE).unlink(missing_ok=True)
    save_file(weights, folder / WEIGHTS_FILE)
    content = {
        "format": FORMAT_VERSION,
        **description,
        "weights_sha256": compute_file_sha256(folder / WEIGHTS_FILE),
        "program": steps,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / DESCRIPTION_FILE).write_text(text + "\n", encoding="utf-8")


def _hash_description(description: dict[str, Any]) -> str:
    """Hash the entries of a description that determine the embeddings.

    Scores and training details are left out.
    """
    keys = ("stream", "width", "size", "layout", "program", "weights_sha256")
    return compute_fingerprint({key: description.get(key) for key in keys})


def _read_description(folder: Path) -> dict[str, Any]:
    """Read `embedder.json` and check that the weights file has the hash that it states.

    Raises:
        CheckpointError: If a file is missing, the description is not valid JSON or has another
            format version, or the hash differs.
    """
    path, weights_path = folder / DESCRIPTION_FILE, folder / WEIGHTS_FILE
    if not path.is_file() or not weights_path.is_file():
        raise CheckpointError(
            f"`{folder}` does not contain an embedder (`{DESCRIPTION_FILE}` and `{WEIGHTS_FILE}`)."
            " Give the"
            " `best` folder that `kinesweep train-embedder RECIPE` writes."
        )
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _make_damaged_error(
            folder, f"`{DESCRIPTION_FILE}` is not valid JSON ({error})"
        ) from None
    if not isinstance(description, dict) or description.get("format") != FORMAT_VERSION:
        version = description.get("format") if isinstance(description, dict) else None
        raise CheckpointError(
            f"`{path}` has format version {version}, but this version of Kinesweep reads"
            f" {FORMAT_VERSION}. Train the embedder again with"
            " `kinesweep train-embedder`."
        )
    stat = weights_path.stat()
    weights_sha256 = _hash_cached_file(weights_path, stat.st_size, stat.st_mtime_ns)
    if weights_sha256 != description.get("weights_sha256"):
        raise _make_damaged_error(
            folder, f"the SHA-256 of `{WEIGHTS_FILE}` differs from `weights_sha256`"
        )
    return description


@lru_cache(maxsize=16)
def _hash_cached_file(path: Path, num_bytes: int, modified_ns: int) -> str:
    """Compute the SHA-256 of a file; it is cached until the size or modification time changes."""
    del num_bytes, modified_ns
    return compute_file_sha256(path)


def _check_output_shape(embedder: Embedder, folder: Path) -> None:
    """Check that an embedder maps two frames to the shape (2, E).

    This finds errors of the network when it is loaded instead of during its use.

    Raises:
        CheckpointError: If the network cannot be run or its output has another shape.
    """
    try:
        output_shape = embedder(np.zeros((2, embedder.input_width), np.float32)).shape
    except (RuntimeError, TypeError, AttributeError, IndexError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _make_damaged_error(folder, f"its network cannot be run: {reason}") from None
    if output_shape != (2, embedder.output_width):
        raise _make_damaged_error(
            folder,
            f"two frames give the shape {output_shape} instead of (2, {embedder.output_width})",
        )


def _make_damaged_error(folder: Path, problem: str) -> CheckpointError:
    """Make the error for a damaged embedder; `problem` is a clause that says what is wrong."""
    return CheckpointError(
        f"The embedder in `{folder}` is damaged: {problem}. Copy the folder again, or train the"
        " embedder again with `kinesweep train-embedder`."
    )
