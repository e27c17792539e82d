"""The endless training data of one rank: maps a position to a batch.

Batch `position` is a pure function of seed and position. There is no state to save, any process can
compute any batch, and a resumed run continues where it stopped. Data loader workers only compute
batches ahead of time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.prompt import PromptSettings
from kinesweep.core.batch import Batch
from kinesweep.core.errors import InputError
from kinesweep.data.bucketing import DEFAULT_MAX_FRAMES, plan_epoch
from kinesweep.data.collate import Item, Tokens, collate
from kinesweep.data.context import Context, reference_texts
from kinesweep.data.length_limits import (
    count_frames,
    cut_frames,
    filter_by_length,
    kept_frames,
    num_frames,
    truncate,
)
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.task_sampling import Example, Examples
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.features.augmentation import build_augmentation
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store


@dataclass(frozen=True)
class _Epoch:
    """The number of an epoch, the frames of each clip in it, and the clips of its batches."""

    number: int
    lengths: Sequence[int]
    batches: Sequence[tuple[int, ...]]


class TrainDataset(Dataset[Batch]):
    """An endless dataset of training batches.

    Args:
        store: Store of the features.
        text: Tokenizer.
        config: Batch config: budget, limits, tasks, augmentation and ablation.
        seed: Random seed for order, augmentation, tasks and the wrong pairs of the ablation.
        rank: Rank of this process; rank r of w gets every w-th batch.
        world: Number of ranks.
        weights: Corpus name → average number of times its clips occur per epoch.
        prompt_settings: Prompt and context settings.
        augmentation_pairs: Stream → stream whose random augmentation it shares.

    Attributes:
        dropped: Reason → number of clips dropped by the limits.
        cut: Stream → number of truncated clips and removed frames.

    Raises:
        InputError: If no clip is left, a clip does not fit in `batch.max_frames`, or clips cannot
            be augmented as `augmentation` or used as `tasks` requires.
    """

    def __init__(  # noqa: PLR0913 (what a recipe says of batches, part by part)
        self,
        store: Store,
        text: TextTokenizer,
        config: BatchConfig,
        seed: int,
        rank: int = 0,
        world: int = 1,
        weights: Mapping[str, float] | None = None,
        prompt_settings: PromptSettings = PromptSettings(),
        augmentation_pairs: Mapping[str, str] | None = None,
    ) -> None:
        self._store, self._text, self._config = store, text, config
        self._seed, self._rank, self._world = seed, rank, world
        listed = store.records("train")
        kept, self.dropped = filter_by_length(listed, config, "train")
        self._examples = Examples(kept, config, prompt_settings.prompt, seed)
        self._records = self._examples.records
        self._prompter = PromptBuilder(text, prompt_settings)
        # Context comes from all clips of the split, also from those dropped by the limits.
        self._context, self._said = (
            Context(listed, prompt_settings.context),
            reference_texts(listed),
        )
        self.cut = cut_frames(kept, config)
        self._lengths = [num_frames(record, config) for record in self._records]
        self._weights = _weights(self._records, weights or {})
        self._check_budget()
        self._varied = build_augmentation(
            config.augmentation, store.schema, seed, max(self._lengths), augmentation_pairs
        )
        # Tokens by example, if they do not change between epochs.
        self._tokens: dict[int, Tokens] = {}
        # First batch of each epoch that is known so far, over all ranks.
        self._epochs: list[int] = [0]
        self._planned = _Epoch(-1, [], [])

    def __getitem__(self, position: int) -> Batch:
        """Return the batch at this position of the rank's stream."""
        epoch, indices = self._place(position)
        rows = [self._row(i, epoch) for i in indices]
        blank = self._config.ablation == "zeros"
        return collate(rows, self._text.vocabulary.pad_id, blank)

    def clip_ids(self, position: int) -> tuple[str, ...]:
        """Return the ids of the clips in a batch."""
        return tuple(self._records[i].clip.id for i in self._place(position)[1])

    def loader(self, start: int, stop: int) -> DataLoader[Batch]:
        """Return a loader of the batches from `start` up to, but not including, `stop`."""
        return DataLoader(
            self,
            batch_size=None,
            sampler=range(start, stop),
            num_workers=self._config.loader_workers,
            # The loader draws a seed; its own generator keeps it from changing dropout's numbers.
            generator=torch.Generator().manual_seed(0),
        )

    def asked(self) -> Iterator[tuple[ClipRecord, Tokens]]:
        """Yield each clip with the tokens of every text that it may be trained on."""
        for index, record in enumerate(self._records):
            for example in self._examples.translations(index):
                yield record, self._token(index, example)

    def padding_share(self, num_batches: int) -> float:
        """Return the share of padding in the first batches of this rank."""
        real = padded = 0
        for position in range(num_batches):
            epoch, indices = self._place(position)
            lengths = [self._plan(epoch).lengths[i] for i in indices]
            real += sum(lengths)
            padded += len(lengths) * max(lengths)
        return 1 - real / padded

    def _place(self, position: int) -> tuple[int, tuple[int, ...]]:
        """Return the epoch and the clips of a batch; epochs can have different lengths."""
        # Ranks take turns in one stream, so an epoch can end on any rank.
        place = position * self._world + self._rank
        # Epochs are planned in order, because their numbers of batches differ.
        while self._epochs[-1] <= place:
            self._epochs.append(self._epochs[-1] + len(self._plan(len(self._epochs) - 1).batches))
        epoch = next(e for e in range(len(self._epochs) - 2, -1, -1) if self._epochs[e] <= place)
        return epoch, self._plan(epoch).batches[place - self._epochs[epoch]]

    def _plan(self, epoch: int) -> "_Epoch":
        """Return the plan of an epoch; only the last one is cached."""
        if self._planned.number != epoch:
            lengths: Sequence[int] = self._lengths
            # Batches must fit the budget after augmentation has changed the lengths.
            if self._varied is not None and self._config.augmentation.changes_length:
                lengths = [self._varied_frames(record, epoch) for record in self._records]
            batches = plan_epoch(lengths, self._config, self._seed, epoch, self._weights)
            self._planned = _Epoch(epoch, lengths, batches)
        return self._planned

    def _row(self, index: int, epoch: int) -> Item:
        """Return a clip's features and tokens in an epoch."""
        record, example = self._records[index], self._examples.of(index, epoch)
        streams = self._features(record, epoch)
        if example.backwards:
            streams = {name: x_TD[::-1] for name, x_TD in streams.items()}
        return Item(record.clip.id, streams, self._token(index, example))

    def _features(self, record: ClipRecord, epoch: int) -> Mapping[str, NDArray[np.floating]]:
        """Return the features that are read, after augmentation."""
        streams = truncate(self._store.features(record), self._config)
        if self._varied is None:
            return streams
        # Slowing a clip down lengthens it; truncate again so that the model reads no more frames.
        return truncate(self._varied(streams, record.clip.id, epoch), self._config)

    def _varied_frames(self, record: ClipRecord, epoch: int) -> int:
        """Return the number of frames that `_features` will return, without reading them."""
        assert self._varied is not None
        lengths = kept_frames(record.lengths, self._config)
        varied = self._varied.lengths(lengths, record.clip.id, epoch)
        return count_frames(kept_frames(varied, self._config), self._config)

    def _token(self, index: int, example: Example) -> Tokens:
        """Return an example's tokens, cached if examples are the same in every epoch."""
        if index in self._tokens:
            return self._tokens[index]
        record = self._records[index]
        lines = self._context.lines(record, self._said)
        tokens = self._prompter.tokens(record.clip, example, lines)
        if not self._examples.vary:
            self._tokens[index] = tokens
        return tokens

    def _check_budget(self) -> None:
        """Check that every clip fits in a batch by itself."""
        # With a fixed number of clips per batch there is no frame budget.
        if self._config.batch_size is not None:
            return
        budget = self._config.max_frames or DEFAULT_MAX_FRAMES
        longest = max(range(len(self._records)), key=self._lengths.__getitem__)
        if self._lengths[longest] > budget:
            raise InputError(
                f"clip `{self._records[longest].clip.id}` has {self._lengths[longest]} frames, more"
                f" than `batch.max_frames` ({budget}); raise it, drop such clips with"
                " `batch.max_clip_frames`, or truncate them with `batch.truncate_frames`"
            )


def _weights(
    records: Sequence[ClipRecord], weights: Mapping[str, float]
) -> NDArray[np.float64] | None:
    """Return how often each clip occurs per epoch; None if every clip occurs once."""
    found = np.array([weights.get(record.clip.corpus, 1.0) for record in records])
    return None if (found == 1).all() else found
