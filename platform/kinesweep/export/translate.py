"""Raw files to text with a bundle: the same features, type and decoding as in training.

A file passes through the same functions as during extraction (its reader, the feature step, the
store's type), so the model sees the very numbers of a store. Files are read and decoded some
hundreds at a time, put together by length. Where the model reads context, clips of one document
come one after the other, documents side by side, and what was written of those before is read.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from kinesweep.batches.collate import Row, Tokens, collate
from kinesweep.batches.context import Context
from kinesweep.batches.evaluation import FixedBatches
from kinesweep.batches.examples import Example
from kinesweep.batches.limits import first_frames
from kinesweep.batches.plan import cut
from kinesweep.batches.prompt import Prompter
from kinesweep.core.clip import Clip
from kinesweep.core.errors import BundleError, ClipError, KinesweepError
from kinesweep.core.recipe.data import BatchConfig
from kinesweep.core.schema import StreamSchema
from kinesweep.core.units import Span
from kinesweep.export.bundle import PROMPTS, STEP, check_files, with_own_encoder
from kinesweep.export.raw import Input, open_raw
from kinesweep.features import Features, build_features
from kinesweep.sources.contract import Media
from kinesweep.store.dtype import to_store
from kinesweep.store.index import ClipRecord
from kinesweep.training.decoding import decode
from kinesweep.training.model_folder import ModelFolder, read_model_folder

Streams = dict[str, NDArray[np.floating]]
_AT_ONCE = 256
"""Files held in memory: about 50 MB of features."""


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Attributes:
        loaded: model, tokenizer, recipe, features.
        encoder_prompt: before the frames, where none is given.
        decoder_prompt: that text begins with, where none is given.
    """

    loaded: ModelFolder
    encoder_prompt: str
    decoder_prompt: str

    @classmethod
    def load(
        cls, folder: Path, device: torch.device | str | None = None, checked: bool = False
    ) -> "Bundle":
        """Checks and loads a bundle.

        Args:
            folder: what `export_bundle` wrote.
            device: where the model goes; None: see `Translator.from_pretrained`.
            checked: whether `check_files` has already compared its files with their hashes.

        Raises:
            BundleError: damaged, not a bundle, or its features were computed by other code.
        """
        if not checked:
            check_files(folder)
        try:
            loaded = read_model_folder(folder, device)
        except KinesweepError as error:
            raise BundleError(f"the bundle `{folder}` cannot be loaded: {error}") from None
        loaded = replace(loaded, recipe=with_own_encoder(loaded.recipe, folder))
        if build_features(loaded.recipe.features).fingerprint != loaded.features[STEP]:
            raise BundleError(
                f"the bundle `{folder}` was trained on features that this version computes"
                " otherwise; use the version that its card names"
            )
        encoder_prompt, decoder_prompt = (str(loaded.features[name]) for name in PROMPTS)
        return cls(loaded, encoder_prompt, decoder_prompt)

    def translate(
        self,
        inputs: Sequence[Input | Path],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """The text of each clip, in order.

        Args:
            inputs: clips; a path is a whole file with the bundle's prompts.
            progress: called with clips done and clips in all.

        Raises:
            ClipError: a file cannot be used; it is named.
            InputError: a prompt holds an unknown tag.
            BundleError: a file's points give features of another width.
        """
        clips = [item if isinstance(item, Input) else Input(item) for item in inputs]
        records = [ClipRecord(self._clip(item, n), {}) for n, item in enumerate(clips)]
        recipe = self.loaded.recipe
        context = Context(records, recipe.context)
        prompter = Prompter(self.loaded.text, recipe.asking)
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
        """Whether what was written of a document's earlier clips is read."""
        context = self.loaded.recipe.context
        return context.is_used and context.generation != "none"

    @property
    def compares(self) -> bool:
        """Whether it reads, beside a motion, that which the motion is compared with."""
        return getattr(self.loaded.recipe.features, "reference", None) is not None

    def features(self, file: Path, span: Span = Span(), beside: Path | None = None) -> Streams:
        """Stream → (T, D) of a file, as a store would hold them; see `computed`.

        Args:
            file: what the corpus holds: poses, a video or features.
            span: which part.
            beside: a video's poses, where crops of it are seen, default: those that lie beside it;
                or the motion that a motion is compared with, default: itself.
        """
        return self._read(Input(file, span, reference=beside))

    def _read(self, item: Input) -> Streams:
        """The features of a clip."""
        return {name: one.x_TD for name, one in self.computed(item).items()}

    def _media(self, item: Input) -> Media:
        """What is read of a clip."""
        if item.media is not None:
            return item.media()
        return open_raw(self.loaded.recipe, item.file, item.span, item.reference)

    def computed(self, item: Input) -> dict[str, Features]:
        """Stream → features of a clip, with their rates, as a store would hold them.

        Raises:
            ClipError: the file cannot be used; it is named.
            BundleError: its points are not those of the corpus.
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
                    f"`{file}` gives {one.x_TD.shape[1]} features a frame{which}, but the model"
                    f" reads {stream.width}; it was trained on another layout of points"
                )
            if stream.layout is not None and one.layout != stream.layout:
                raise BundleError(
                    f"`{file}` has as many points as the model reads, but other ones; it was"
                    " trained on another layout of points"
                )
        return streams

    def tokens(self, item: Input) -> Tokens:
        """What stands around the frames of a clip that stands alone."""
        prompter = Prompter(self.loaded.text, self.loaded.recipe.asking)
        return _tokens(prompter, self._clip(item))

    def _clip(self, item: Input, number: int = 0) -> Clip:
        """An input with the bundle's prompts where it has none; ids are in the list's order."""
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
        """The text of each clip's features, in order.

        Args:
            clips: stream → (T, D), as `features` gives them.
            prompts: of each clip; None: the bundle's.
        """
        recipe, text = self.loaded.recipe, self.loaded.text
        if prompts is None:
            prompts = [self.tokens(Input(Path()))] * len(clips)
        clips = [first_frames(clip, recipe.taken_batch) for clip in clips]
        lengths = [max(len(x_TD) for x_TD in clip.values()) for clip in clips]
        order = sorted(range(len(clips)), key=lambda index: lengths[index])
        limit = BatchConfig(max_frames=recipe.evaluation.max_frames)
        blank = recipe.batch.ablation == "zeros"
        batches = [
            collate(
                [Row(str(i), clips[i], prompts[i]) for i in group], text.vocabulary.pad_id, blank
            )
            for group in cut(order, lengths, limit)
        ]
        generation = recipe.generation
        fixed = FixedBatches(batches)
        lines = decode(self.loaded.model, text, fixed, generation.num_beams, generation)
        return [lines[str(index)] for index in range(len(clips))]


def _tokens(prompter: Prompter, clip: Clip, lines: Sequence[str] = ()) -> Tokens:
    """What stands around the frames of a clip whose text is not known."""
    return prompter.tokens(clip, Example.translation(clip), lines)


def _parts(context: Context, records: Sequence[ClipRecord]) -> Iterator[list[int]]:
    """Places of clips that are translated together; those before them in a document come first."""
    waves: dict[int, list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        waves[context.place(record)].append(number)
    for _, wave in sorted(waves.items()):
        for start in range(0, len(wave), _AT_ONCE):
            yield wave[start : start + _AT_ONCE]
