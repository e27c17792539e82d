"""Raw pose files to text with a bundle: the same features, type and decoding as in training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kinesweep.batches.collate import Row, Tokens, collate
from kinesweep.batches.plan import cut
from kinesweep.core.clip import Clip
from kinesweep.core.errors import BundleError, KinesweepError
from kinesweep.core.recipe.data import BatchConfig
from kinesweep.core.units import Span
from kinesweep.export.bundle import PROMPTS, open_bundle
from kinesweep.features import build_features
from kinesweep.sources.pose_file import read_pose
from kinesweep.store.dtype import to_store
from kinesweep.training.decoding import decode
from kinesweep.training.files import read_json
from kinesweep.training.model_folder import ModelFolder, read_model_folder


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Attributes:
        loaded: model, tokenizer, recipe, features.
        encoder_prompt: before the frames.
        decoder_prompt: that text begins with.
    """

    loaded: ModelFolder
    encoder_prompt: str
    decoder_prompt: str

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> "Bundle":
        """Checks and loads a bundle.

        Raises:
            BundleError: damaged, or not a bundle.
        """
        open_bundle(folder)
        try:
            loaded = read_model_folder(folder, device)
        except KinesweepError as error:
            raise BundleError(f"`{folder}`: {error}") from None
        return cls(loaded, **read_json(folder / PROMPTS))

    def translate(self, files: Sequence[Path], spans: Sequence[Span] | None = None) -> list[str]:
        """The text of each file, in order.

        Args:
            files: `.pose` files.
            spans: the part of each that is meant; default: all of it.

        Raises:
            ClipError: a file cannot be used.
            BundleError: its points give features of another width.
        """
        chosen = spans or [Span()] * len(files)
        rows = [
            self._row(i, file, span)
            for i, (file, span) in enumerate(zip(files, chosen, strict=True))
        ]
        lengths = [sum(len(x_TD) for x_TD in row.streams.values()) for row in rows]
        order = sorted(range(len(rows)), key=lambda i: lengths[i])
        recipe, text = self.loaded.recipe, self.loaded.text
        groups = cut(order, lengths, BatchConfig(max_frames=recipe.evaluation.max_frames))
        batches = [collate([rows[i] for i in g], text.vocabulary.pad_id) for g in groups]
        beams = recipe.generation.num_beams
        lines = decode(self.loaded.model, text, batches, beams, recipe.generation)
        return [lines[str(i)] for i in range(len(rows))]

    def _row(self, index: int, file: Path, span: Span) -> Row:
        features = self.loaded.features
        step = build_features(self.loaded.recipe.features)
        x_TD = step(read_pose(file, span, features["person"]))
        width = features["streams"][step.stream]["width"]
        if x_TD.shape[1] != width:
            raise BundleError(
                f"`{file}` gives {x_TD.shape[1]} features a frame, but the model reads {width};"
                " it was trained on another point layout"
            )
        stored = np.asarray(to_store(x_TD, features["store_dtype"]))
        clip = Clip(
            id=str(index),
            split="test",
            media=str(file),
            encoder_prompt=self.encoder_prompt,
            decoder_prompt=self.decoder_prompt,
        )
        return Row(clip.id, {step.stream: stored}, Tokens.of(clip, self.loaded.text))
