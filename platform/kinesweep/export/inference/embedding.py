"""Vectors of clips: what a model makes of their frames, and its states while it writes the text.

Clips are translated one by one, as files are by `Bundle.translate`, and then pass through the model
once more with their text. All arrays are float32 on the CPU, except for times and ids.

Shapes: N vectors of a stream, E width of the language model's input, L tokens, H width of its
hidden states.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from kinesweep.checkpoints.model_dir import LoadedModel
from kinesweep.core.clip import Clip
from kinesweep.core.io import write_json
from kinesweep.core.schema import StreamSchema
from kinesweep.data.absent_streams import fill_absent_streams
from kinesweep.data.collate import BatchItem, ClipTokens
from kinesweep.evaluation.embedding.single_clip import DecodedClip, decode_item
from kinesweep.export.input_translation import StreamFeatures, translate_inputs
from kinesweep.export.raw_inputs import Input
from kinesweep.features import Features
from kinesweep.features.texts.text import UNTIMED_RATE_HZ
from kinesweep.models.representations.clip_vectors import ClipVectors, compute_clip_vectors


@dataclass(frozen=True)
class ClipEmbeddings:
    """The vectors of one clip.

    Attributes:
        text: Text that the model wrote.
        streams: Stream → vectors that enter the language model, (N, E), after encoder, fusion and
            truncation; `fused` for several streams that are joined by channel. Streams that the
            clip lacks are left out.
        times_s: Stream → begin and end of the part of the clip that each vector represents, in
            seconds, (N, 2); without streams that have no times (texts, single images) or whose
            encoder does not say which frames a vector represents.
        tokens: Generated tokens as readable pieces, up to and including the end of the sentence.
        token_ids: Their ids, int64 (L,).
        hidden_states: States of the last layer of the language model (of its decoder, if it has
            one), (L, H). Token l is predicted from row l.
    """

    text: str
    streams: dict[str, NDArray[np.float32]]
    times_s: dict[str, NDArray[np.float64]]
    tokens: tuple[str, ...]
    token_ids: NDArray[np.int64]
    hidden_states: NDArray[np.float32]

    @property
    def pooled(self) -> dict[str, NDArray[np.float32]]:
        """Return stream → mean of its vectors, (E,)."""
        return {name: x_NE.mean(axis=0) for name, x_NE in self.streams.items()}

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return all arrays by name, as `write_embeddings` saves them."""
        named: dict[str, NDArray[np.generic]] = {}
        for prefix, arrays in (
            ("stream", self.streams),
            ("times_s", self.times_s),
            ("pooled", self.pooled),
        ):
            named |= {f"{prefix}.{name}": array for name, array in arrays.items()}
        return named | {"token_ids": self.token_ids, "hidden_states": self.hidden_states}


class EmbeddingBundle(Protocol):
    """The parts of a loaded bundle that give the vectors of clips."""

    @property
    def loaded(self) -> LoadedModel:
        """Model, tokenizer, recipe and description of the features."""

    @property
    def stream_schemas(self) -> dict[str, StreamSchema]:
        """Stream → schema in the training data."""

    def make_clip(self, item: Input, index: int) -> Clip:
        """Convert an input to a clip without text, with the bundle's default prompts."""

    def compute_input_features(self, item: Input) -> dict[str, Features]:
        """Compute the features of an input, with their frame rates."""


def embed_inputs(
    bundle: EmbeddingBundle,
    inputs: Sequence[Input | Path | str],
    progress: Callable[[int, int], None] | None = None,
) -> list[ClipEmbeddings]:
    """Compute the vectors of clips, in the order of the inputs.

    Args:
        bundle: Loaded bundle.
        inputs: Clips; a path stands for a whole file with the default prompts.
        progress: Callback that receives the numbers of finished and of all clips.

    Raises:
        ClipError: If a file cannot be used; the message names it.
        InputError: If a prompt contains an unknown tag, or a file is of another kind than those of
            the corpus.
        BundleError: If the features of a file do not fit the model.
    """
    # Copies, so that an input that occurs twice has vectors of its own each time.
    clip_inputs = [
        replace(item) if isinstance(item, Input) else Input(Path(item)) for item in inputs
    ]
    embedder = _Embedder(bundle)
    translate_inputs(embedder, clip_inputs, progress, stop_at_failure=True)
    return [embedder.embeddings[id(item)] for item in clip_inputs]


def write_embeddings(folder: Path, names: Sequence[str], clips: Sequence[ClipEmbeddings]) -> None:
    """Write the vectors of clips to `.npz` files, and `index.json` with their names and texts.

    Args:
        folder: Output folder; it is created.
        names: Display names of the clips.
        clips: Vectors of the clips.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for index, (name, clip) in enumerate(zip(names, clips, strict=True)):
        file_name = f"{index:06d}.npz"
        np.savez(folder / file_name, **clip.to_arrays())  # type: ignore[arg-type]
        tokens = list(clip.tokens)
        entries.append({"file": file_name, "name": name, "text": clip.text, "tokens": tokens})
    write_json(folder / "index.json", {"clips": entries})


class _Embedder:
    """A translator of clips that keeps the vectors of each.

    Args:
        bundle: Loaded bundle.

    Attributes:
        embeddings: Identity of an input → its vectors.
    """

    def __init__(self, bundle: EmbeddingBundle) -> None:
        self._bundle = bundle
        # Inputs whose features were computed and that are to be translated next, in this order.
        self._pending: list[tuple[Input, dict[str, float]]] = []
        self.embeddings: dict[int, ClipEmbeddings] = {}

    @property
    def loaded(self) -> LoadedModel:
        """Return the model with its tokenizer, recipe and description of the features."""
        return self._bundle.loaded

    def make_clip(self, item: Input, index: int) -> Clip:
        """Convert an input to a clip without text, with the bundle's default prompts."""
        return self._bundle.make_clip(item, index)

    def compute_feature_arrays(self, item: Input) -> StreamFeatures:
        """Compute the feature arrays of an input, and keep their frame rates."""
        features = self._bundle.compute_input_features(item)
        rates_hz = {name: one.rate_hz for name, one in features.items()}
        self._pending.append((item, rates_hz))
        return {name: one.x_TD for name, one in features.items()}

    def translate_features(
        self,
        features: Sequence[StreamFeatures],
        tokens: Sequence[ClipTokens],
        names: Sequence[str],
    ) -> list[str]:
        """Translate clips, keep their vectors, and return their texts."""
        # Emptied at once, so that a failure does not leave clips for the next call.
        pending, self._pending = self._pending, []
        texts = []
        for streams, clip_tokens, name, (item, rates_hz) in zip(
            features, tokens, names, pending, strict=True
        ):
            filled = fill_absent_streams(streams, self._bundle.stream_schemas)
            batch_item = BatchItem(str(item.file), filled, clip_tokens)
            # One by one: the vectors of a clip must not depend on the padding of a batch.
            decoded = decode_item(self.loaded, batch_item, name)
            vectors = compute_clip_vectors(self.loaded.model, decoded.batch)
            self.embeddings[id(item)] = _build_embeddings(decoded, vectors, rates_hz)
            texts.append(decoded.text)
        return texts


def _build_embeddings(
    decoded: DecodedClip, vectors: ClipVectors, rates_hz: Mapping[str, float]
) -> ClipEmbeddings:
    """Convert the vectors of a clip to arrays, and the frames they represent to seconds.

    Args:
        decoded: Text and tokens of the clip.
        vectors: Vectors of the clip.
        rates_hz: Stream → frames per second.
    """
    times_s = {}
    for name, stream in vectors.streams.items():
        rate_hz = rates_hz[stream.timed_by]
        # Texts and single images have a placeholder as their rate.
        if rate_hz != UNTIMED_RATE_HZ and stream.spans:
            frames = [(span.first, span.end) for span in stream.spans]
            times_s[name] = np.array(frames, np.float64) / rate_hz
    return ClipEmbeddings(
        text=decoded.text,
        streams={name: _to_array(one.vectors_NE) for name, one in vectors.streams.items()},
        times_s=times_s,
        tokens=tuple(token.text for token in decoded.tokens),
        token_ids=np.array([token.id for token in decoded.tokens], np.int64),
        hidden_states=_to_array(vectors.hidden_LH),
    )


def _to_array(tensor: torch.Tensor) -> NDArray[np.float32]:
    """Return a tensor as a float32 array on the CPU."""
    # NumPy has no bfloat16.
    return tensor.float().cpu().numpy()
