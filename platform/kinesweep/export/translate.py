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

from kinesweep.checkpoints.model_dir import ModelFolder, read_model_folder
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import BundleError, ClipError, KinesweepError
from kinesweep.core.schema import StreamSchema
from kinesweep.core.units import Span
from kinesweep.data.bucketing import cut
from kinesweep.data.collate import Item, Tokens, collate
from kinesweep.data.context import Context
from kinesweep.data.evaluation import FixedBatches
from kinesweep.data.length_limits import truncate
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.task_sampling import Example
from kinesweep.evaluation.decoding import decode
from kinesweep.export.bundle import PROMPTS, STEP, check_files, with_own_encoder
from kinesweep.export.raw_inputs import Input, open_raw
from kinesweep.features import Features, build_features
from kinesweep.sources.base import Media
from kinesweep.store.format.dtype import to_store
from kinesweep.store.format.index import ClipRecord

Streams = dict[str, NDArray[np.floating]]
# Number of files in memory at once; about 50 MB of features.
_AT_ONCE = 256


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle, ready to translate.

    Attributes:
        loaded: Model, tokenizer, recipe and description of the features.
        encoder_prompt: Default prompt in front of the frames.
        decoder_prompt: Default prefix of the output text.
    """

    loaded: ModelFolder
    encoder_prompt: str
    decoder_prompt: str

    @classmethod
    def load(
        cls, folder: Path, device: torch.device | str | None = None, checked: bool = False
    ) -> "Bundle":
        """Check and load a bundle.

        Args:
            folder: Folder written by `export_bundle`.
            device: Device of the model; for None see `Translator.from_pretrained`.
            checked: Whether `check_files` has already compared the files with their hashes.

        Raises:
            BundleError: If the folder is not a bundle or is damaged, or if this version computes
                its features differently.
        """
        if not checked:
            check_files(folder)
        try:
            loaded = read_model_folder(folder, device)
        except KinesweepError as error:
            raise BundleError(f"the bundle `{folder}` cannot be loaded: {error}") from None
        loaded = replace(loaded, recipe=with_own_encoder(loaded.recipe, folder))
        # The fingerprint covers the code version and the weights of encoders, so raw files can
        # never silently get features that the model was not trained on.
        if build_features(loaded.recipe.features).fingerprint != loaded.features[STEP]:
            raise BundleError(
                f"the bundle `{folder}` was trained on features that this version of Kinesweep"
                " computes differently; use the version that the model card names"
            )
        encoder_prompt, decoder_prompt = (str(loaded.features[name]) for name in PROMPTS)
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
        records = [ClipRecord(self._clip(item, n), {}) for n, item in enumerate(clips)]
        recipe = self.loaded.recipe
        context = Context(records, recipe.context)
        prompter = PromptBuilder(self.loaded.text, recipe.prompt_settings)
        # Texts by clip ID; later parts of a document read the earlier texts as context.
        said: dict[str, str] = {}
        for part in _parts(context, records):
            tokens = [
                _tokens(prompter, records[n].clip, context.lines(records[n], said)) for n in part
            ]
            features = [self._read(clips[n]) for n in part]
            lines = self.decode(features, tokens)
            said |= {records[n].clip.id: line for n, line in zip(part, lines, strict=True)}
            if progress is not None:
                progress(len(said), len(clips))
        return [said[record.clip.id] for record in records]

    @property
    def reads_context(self) -> bool:
        """Whether the texts generated for earlier clips of a document are used as context."""
        context = self.loaded.recipe.context
        return context.is_used and context.decoding_context != "none"

    @property
    def compares(self) -> bool:
        """Whether the model compares a motion with a reference motion."""
        return getattr(self.loaded.recipe.features, "reference", None) is not None

    def features(self, file: Path, span: Span = Span(), beside: Path | None = None) -> Streams:
        """Compute the features of a file as a store would contain them; see `computed`.

        Args:
            file: Path of a file like those of the corpus: poses, a video, a motion or features.
            span: Part of the file.
            beside: Path of a second file. For a video with crops: its poses, by default those next
                to it. For a motion: the reference, by default the motion itself.

        Returns:
            Stream name → features, (T, D).
        """
        return self._read(Input(file, span, reference=beside))

    def _read(self, item: Input) -> Streams:
        """Compute the feature arrays of a clip."""
        return {name: one.x_TD for name, one in self.computed(item).items()}

    def _media(self, item: Input) -> Media:
        """Read the media of a clip."""
        if item.media is not None:
            return item.media()
        return open_raw(self.loaded.recipe, item.file, item.span, item.reference)

    def computed(self, item: Input) -> dict[str, Features]:
        """Compute the features of a clip, with their rates, as a store would contain them.

        Returns:
            Stream name → features.

        Raises:
            ClipError: If the file cannot be used; the message names it.
            BundleError: If its points differ from those of the corpus.
        """
        known, file = self.loaded.features, item.file
        step = build_features(self.loaded.recipe.features)
        try:
            found = step.compute(self._media(item))
            streams = {
                name: replace(one, x_TD=to_store(one.x_TD, known["store_dtype"]))
                for name, one in found.items()
            }
        except ClipError as error:
            text = str(error)
            named = text if str(file) in text else f"`{file}`: {text}"
            raise ClipError(named, error.reason) from None
        for name, one in streams.items():
            stream = StreamSchema.from_json(known["streams"][name])
            if one.x_TD.shape[1] != stream.width:
                which = f" of `{name}`" if len(streams) > 1 else ""
                raise BundleError(
                    f"`{file}` has {one.x_TD.shape[1]} features per frame{which}, but the model"
                    f" expects {stream.width}; it was trained on another point layout"
                )
            # Different points can have the same width, so the names are compared too.
            if stream.layout is not None and one.layout != stream.layout:
                raise BundleError(
                    f"`{file}` has the number of points that the model expects, but other points;"
                    " the model was trained on another point layout"
                )
        return streams

    def tokens(self, item: Input) -> Tokens:
        """Return the prompt tokens of a clip without context."""
        prompter = PromptBuilder(self.loaded.text, self.loaded.recipe.prompt_settings)
        return _tokens(prompter, self._clip(item))

    def _clip(self, item: Input, number: int = 0) -> Clip:
        """Convert an input to a clip; missing prompts are the bundle's defaults."""
        # Zero-padded numbers as IDs, so that sorting by ID keeps the order of the list. The text is
        # unknown, and `media` is unused: features are read from the input itself.
        given, forced = item.encoder_prompt, item.decoder_prompt
        return Clip(
            id=f"{number:09d}",
            split="test",
            media="",
            encoder_prompt=self.encoder_prompt if given is None else given,
            decoder_prompt=self.decoder_prompt if forced is None else forced,
            document=item.document if self.reads_context else "",
            order=item.order,
        )

    def decode(
        self, clips: Sequence[Streams], prompts: Sequence[Tokens] | None = None
    ) -> list[str]:
        """Decode features and return the texts in order.

        Args:
            clips: Features of each clip, stream → (T, D), as returned by `features`.
            prompts: Prompt tokens of each clip; None selects the default prompts for all.
        """
        recipe, text = self.loaded.recipe, self.loaded.text
        if prompts is None:
            prompts = [self.tokens(Input(Path()))] * len(clips)
        clips = [truncate(clip, recipe.effective_batch) for clip in clips]
        lengths = [max(len(x_TD) for x_TD in clip.values()) for clip in clips]
        # Clips of similar length share a batch; the numbers serve as IDs to restore the order.
        order = sorted(range(len(clips)), key=lambda index: lengths[index])
        limit = BatchConfig(max_frames=recipe.evaluation.max_frames)
        blank = recipe.batch.ablation == "zeros"
        batches = [
            collate(
                [Item(str(i), clips[i], prompts[i]) for i in group], text.vocabulary.pad_id, blank
            )
            for group in cut(order, lengths, limit)
        ]
        generation = recipe.generation
        fixed = FixedBatches(batches)
        lines = decode(self.loaded.model, text, fixed, generation.num_beams, generation)
        return [lines[str(index)] for index in range(len(clips))]


def _tokens(prompter: PromptBuilder, clip: Clip, lines: Sequence[str] = ()) -> Tokens:
    """Return the prompt tokens of a clip with unknown text; `lines` are its context."""
    return prompter.tokens(clip, Example.translation(clip), lines)


def _parts(context: Context, records: Sequence[ClipRecord]) -> Iterator[list[int]]:
    """Yield the indices of clips that are translated together.

    A clip comes after all earlier clips of its document, whose texts are its context.
    """
    # A wave consists of the clips at the same position in their documents.
    waves: dict[int, list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        waves[context.place(record)].append(number)
    for _, wave in sorted(waves.items()):
        for start in range(0, len(wave), _AT_ONCE):
            yield wave[start : start + _AT_ONCE]
