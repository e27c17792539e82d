"""Translation of raw files with a bundle, with features, dtype and decoding as in training.

A file passes through the same functions as during extraction (reader, feature step, dtype of the
store), so the model receives exactly the values that a store would contain. Up to 256 files at a
time are read, batched by length and decoded. If the model uses context, the clips of a document are
translated one after another, and several documents in parallel; the context of a clip consists of
the texts generated for the earlier clips.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kinesweep.checkpoints.model_dir import LoadedModel, read_model_folder
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import BundleError, ClipError, KinesweepError
from kinesweep.core.schema import StreamSchema
from kinesweep.core.units import Span
from kinesweep.data.bucketing import split_into_batches
from kinesweep.data.collate import BatchItem, ClipTokens, collate
from kinesweep.data.context import DocumentContext
from kinesweep.data.evaluation import FixedBatches
from kinesweep.data.length_limits import truncate_streams
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.task_sampling import Example
from kinesweep.evaluation.decoding import decode_batches
from kinesweep.export.bundle import (
    FEATURE_STEP_KEY,
    PROMPT_FIELDS,
    check_files,
    use_bundled_encoder,
)
from kinesweep.export.raw_inputs import Input, read_raw_file
from kinesweep.features import Features, build_features
from kinesweep.sources.base import Media
from kinesweep.store.format.dtype import round_to_store_dtype
from kinesweep.store.format.index import ClipRecord

StreamFeatures = dict[str, NDArray[np.floating]]
# Number of files in memory at once; about 50 MB of features.
_MAX_FILES_IN_MEMORY = 256


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle, ready to translate.

    Attributes:
        loaded: Model, tokenizer, recipe and description of the features.
        encoder_prompt: Default prompt in front of the frames.
        decoder_prompt: Default prefix of the output text.
    """

    loaded: LoadedModel
    encoder_prompt: str
    decoder_prompt: str

    @classmethod
    def load(
        cls, folder: Path, device: torch.device | str | None = None, skip_file_check: bool = False
    ) -> "Bundle":
        """Check and load a bundle.

        Args:
            folder: Folder written by `export_bundle`.
            device: Device of the model; for None see `Translator.from_pretrained`.
            skip_file_check: Whether to skip `check_files`, because it has already been called.

        Raises:
            BundleError: If the folder is not a bundle or is damaged, or if this version computes
                its features differently.
        """
        if not skip_file_check:
            check_files(folder)
        try:
            loaded = read_model_folder(folder, device)
        except KinesweepError as error:
            raise BundleError(f"the bundle `{folder}` cannot be loaded: {error}") from None
        loaded = replace(loaded, recipe=use_bundled_encoder(loaded.recipe, folder))
        # The fingerprint covers the code version and the weights of encoders, so raw files can
        # never silently get features that the model was not trained on.
        if build_features(loaded.recipe.features).fingerprint != loaded.features[FEATURE_STEP_KEY]:
            raise BundleError(
                f"the bundle `{folder}` was trained on features that this version of Kinesweep"
                " computes differently; use the version that the model card names"
            )
        encoder_prompt, decoder_prompt = (str(loaded.features[name]) for name in PROMPT_FIELDS)
        return cls(loaded, encoder_prompt, decoder_prompt)

    def translate(
        self,
        inputs: Sequence[Input | Path | str],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Translate clips and return their texts in order.

        Args:
            inputs: Clips to translate; a path stands for a whole file with the default prompts.
            progress: Callback that receives the number of finished clips and of all clips.

        Raises:
            ClipError: If a file cannot be used; the message names it.
            InputError: If a prompt contains an unknown tag.
            BundleError: If the features of a file do not fit the model.
        """
        clips = [item if isinstance(item, Input) else Input(Path(item)) for item in inputs]
        records = [ClipRecord(self._make_clip(item, n), {}) for n, item in enumerate(clips)]
        recipe = self.loaded.recipe
        context = DocumentContext(records, recipe.context)
        prompter = PromptBuilder(self.loaded.text, recipe.prompt_settings)
        # Texts by clip ID; later parts of a document read the earlier texts as context.
        texts: dict[str, str] = {}
        for indices in _iter_translation_batches(context, records):
            tokens = [
                _encode_prompt(prompter, records[n].clip, context.get_sentences(records[n], texts))
                for n in indices
            ]
            features = [self._compute_feature_arrays(clips[n]) for n in indices]
            lines = self.decode_features(features, tokens)
            texts |= {records[n].clip.id: line for n, line in zip(indices, lines, strict=True)}
            if progress is not None:
                progress(len(texts), len(clips))
        return [texts[record.clip.id] for record in records]

    @property
    def uses_context(self) -> bool:
        """Whether the texts generated for earlier clips of a document are used as context."""
        context = self.loaded.recipe.context
        return context.is_enabled and context.decoding_context != "none"

    @property
    def uses_reference(self) -> bool:
        """Whether the model compares a motion with a reference motion."""
        return getattr(self.loaded.recipe.features, "reference", None) is not None

    def compute_features(
        self, file: Path, span: Span = Span(), auxiliary_file: Path | None = None
    ) -> StreamFeatures:
        """Compute the features of a file as a store would contain them.

        See `compute_input_features` for the errors.

        Args:
            file: Path of a file like those of the corpus: poses, a video, a motion or features.
            span: Part of the file.
            auxiliary_file: Path of a second file. For a video with crops: its poses, by default
                those next to it. For a motion: the reference, by default the motion itself.

        Returns:
            Stream name → features, (T, D).
        """
        return self._compute_feature_arrays(Input(file, span, reference=auxiliary_file))

    def _compute_feature_arrays(self, item: Input) -> StreamFeatures:
        """Compute the feature arrays of an input, stream → (T, D)."""
        return {name: features.x_TD for name, features in self.compute_input_features(item).items()}

    def _read_media(self, item: Input) -> Media:
        """Read the media of an input."""
        if item.read_media is not None:
            return item.read_media()
        return read_raw_file(self.loaded.recipe, item.file, item.span, item.reference)

    def compute_input_features(self, item: Input) -> dict[str, Features]:
        """Compute the features of an input, with their rates, as a store would contain them.

        Returns:
            Stream name → features.

        Raises:
            ClipError: If the file cannot be used; the message names it.
            BundleError: If its points differ from those of the corpus.
        """
        metadata, file = self.loaded.features, item.file
        step = build_features(self.loaded.recipe.features)
        try:
            features = step.compute_features(self._read_media(item))
            streams = {
                name: replace(one, x_TD=round_to_store_dtype(one.x_TD, metadata["store_dtype"]))
                for name, one in features.items()
            }
        except ClipError as error:
            text = str(error)
            message = text if str(file) in text else f"`{file}`: {text}"
            raise ClipError(message, error.reason) from None
        for name, one in streams.items():
            stream = StreamSchema.from_json(metadata["streams"][name])
            if one.x_TD.shape[1] != stream.width:
                stream_text = f" of `{name}`" if len(streams) > 1 else ""
                raise BundleError(
                    f"`{file}` has {one.x_TD.shape[1]} features per frame{stream_text}, but the"
                    " model"
                    f" expects {stream.width}; it was trained on another point layout"
                )
            # Different points can have the same width, so the names are compared too.
            if stream.layout is not None and one.layout != stream.layout:
                raise BundleError(
                    f"`{file}` has the number of points that the model expects, but other points;"
                    " the model was trained on another point layout"
                )
        return streams

    def build_prompt_tokens(self, item: Input) -> ClipTokens:
        """Build the prompt tokens of an input without context."""
        prompter = PromptBuilder(self.loaded.text, self.loaded.recipe.prompt_settings)
        return _encode_prompt(prompter, self._make_clip(item))

    def _make_clip(self, item: Input, number: int = 0) -> Clip:
        """Convert an input to a clip; missing prompts are the bundle's defaults."""
        # Zero-padded numbers as IDs, so that sorting by ID keeps the order of the list. The text is
        # unknown, and `Clip.media` is unused: features are read from the input itself.
        encoder_prompt, decoder_prompt = item.encoder_prompt, item.decoder_prompt
        return Clip(
            id=f"{number:09d}",
            split="test",
            media="",
            encoder_prompt=self.encoder_prompt if encoder_prompt is None else encoder_prompt,
            decoder_prompt=self.decoder_prompt if decoder_prompt is None else decoder_prompt,
            document=item.document if self.uses_context else "",
            order=item.order,
        )

    def decode_features(
        self, clips: Sequence[StreamFeatures], prompts: Sequence[ClipTokens] | None = None
    ) -> list[str]:
        """Decode features and return the texts in order.

        Args:
            clips: Features of each clip, stream → (T, D), as returned by
                `compute_features`.
            prompts: Prompt tokens of each clip; None selects the default prompts for all.
        """
        recipe, text = self.loaded.recipe, self.loaded.text
        if prompts is None:
            prompts = [self.build_prompt_tokens(Input(Path()))] * len(clips)
        clips = [truncate_streams(clip, recipe.effective_batch) for clip in clips]
        lengths = [max(len(x_TD) for x_TD in clip.values()) for clip in clips]
        # Clips of similar length share a batch; the numbers serve as IDs to restore the order.
        order = sorted(range(len(clips)), key=lambda index: lengths[index])
        limit = BatchConfig(max_frames=recipe.evaluation.max_frames)
        zero_features = recipe.batch.ablation == "zeros"
        batches = [
            collate(
                [BatchItem(str(i), clips[i], prompts[i]) for i in group],
                text.vocabulary.pad_id,
                zero_features,
            )
            for group in split_into_batches(order, lengths, limit)
        ]
        generation = recipe.generation
        fixed_batches = FixedBatches(batches)
        lines = decode_batches(
            self.loaded.model, text, fixed_batches, generation.num_beams, generation
        )
        return [lines[str(index)] for index in range(len(clips))]


def _encode_prompt(
    prompter: PromptBuilder, clip: Clip, context_texts: Sequence[str] = ()
) -> ClipTokens:
    """Encode the prompts of a clip with unknown text as tokens.

    Args:
        prompter: Builder of prompts.
        clip: Clip to translate.
        context_texts: Earlier texts of the document, which are the context.
    """
    return prompter.build_tokens(clip, Example.from_clip(clip), context_texts)


def _iter_translation_batches(
    context: DocumentContext, records: Sequence[ClipRecord]
) -> Iterator[list[int]]:
    """Yield the indices of clips that are translated together.

    A clip comes after all earlier clips of its document, whose texts are its context.
    """
    # A group consists of the clips at the same position in their documents.
    groups: dict[int, list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        groups[context.get_position(record)].append(number)
    for _, group in sorted(groups.items()):
        for start in range(0, len(group), _MAX_FILES_IN_MEMORY):
            yield group[start : start + _MAX_FILES_IN_MEMORY]
