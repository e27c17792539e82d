"""The endless training data of one rank: position in, batch out.

Batch `position` is a pure function of seed and position: no state to save, any process can make
any batch, and a resumed run reads on where it stopped. Loader workers only make it sooner.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from kinesweep.batches.collate import Row, Tokens, collate
from kinesweep.batches.context import Context, gold
from kinesweep.batches.examples import Example, Examples
from kinesweep.batches.limits import (
    counted,
    cut_frames,
    first_frames,
    kept_frames,
    num_frames,
    within,
)
from kinesweep.batches.plan import DEFAULT_MAX_FRAMES, plan_epoch
from kinesweep.batches.prompt import Prompter
from kinesweep.batches.text import Text
from kinesweep.core.batch import Batch
from kinesweep.core.errors import InputError
from kinesweep.core.recipe.data import BatchConfig
from kinesweep.core.recipe.prompt import Asking
from kinesweep.features.augmentation import build_augmentation
from kinesweep.store.index import ClipRecord
from kinesweep.store.reader import Store


@dataclass(frozen=True)
class _Epoch:
    """An epoch's number, the frames of each clip in it, and the clips of its batches."""

    number: int
    lengths: Sequence[int]
    batches: Sequence[tuple[int, ...]]


class TrainStream(Dataset[Batch]):
    """Batches of the training split, without end.

    Args:
        store: the features.
        text: the tokenizer.
        config: budget, limits, ablation.
        seed: of the order, of augmentation, of what is asked, and of the ablation's wrong pairs.
        rank: which part of the stream this is; rank r of w gets every w-th batch.
        world: how many ranks there are.
        weights: name of each of several corpora → how often its clips come in an epoch.
        asking: the words around the frames, and the sentences before them.
        alike: stream → the one that it is varied with, draw for draw.

    Attributes:
        dropped: clips left out by the limits, by reason.
        cut: clips and frames that lost their end, by stream.

    Raises:
        InputError: no clip is left, one does not fit in `batch.max_frames`, or clips cannot be
            varied as `augmentation` says, or asked as `tasks` says.
    """

    def __init__(  # noqa: PLR0913 (what a recipe says of batches, part by part)
        self,
        store: Store,
        text: Text,
        config: BatchConfig,
        seed: int,
        rank: int = 0,
        world: int = 1,
        weights: Mapping[str, float] | None = None,
        asking: Asking = Asking(),
        alike: Mapping[str, str] | None = None,
    ) -> None:
        self._store, self._text, self._config = store, text, config
        self._seed, self._rank, self._world = seed, rank, world
        listed = store.records("train")
        kept, self.dropped = within(listed, config, "train")
        self._examples = Examples(kept, config, asking.prompt, seed)
        self._records = self._examples.records
        self._prompter = Prompter(text, asking)
        self._context, self._said = Context(listed, asking.context), gold(listed)
        self.cut = cut_frames(kept, config)
        self._lengths = [num_frames(record, config) for record in self._records]
        self._weights = _weights(self._records, weights or {})
        self._check_budget()
        self._varied = build_augmentation(
            config.augmentation, store.schema, seed, max(self._lengths), alike
        )
        self._tokens: dict[int, Tokens] = {}
        self._epochs: list[int] = [0]
        self._planned = _Epoch(-1, [], [])

    def __getitem__(self, position: int) -> Batch:
        epoch, indices = self._place(position)
        rows = [self._row(i, epoch) for i in indices]
        blank = self._config.ablation == "zeros"
        return collate(rows, self._text.vocabulary.pad_id, blank)

    def clip_ids(self, position: int) -> tuple[str, ...]:
        """Which clips a batch holds."""
        return tuple(self._records[i].clip.id for i in self._place(position)[1])

    def loader(self, start: int, stop: int) -> DataLoader[Batch]:
        """Batches `start` up to, not including, `stop`, in order."""
        return DataLoader(
            self,
            batch_size=None,
            sampler=range(start, stop),
            num_workers=self._config.loader_workers,
            # A generator of its own: the loader draws a number, which must not move dropout's.
            generator=torch.Generator().manual_seed(0),
        )

    def asked(self) -> Iterator[tuple[ClipRecord, Tokens]]:
        """Each clip with every text that it may be trained on."""
        for index, record in enumerate(self._records):
            for example in self._examples.translations(index):
                yield record, self._token(index, example)

    def padding_share(self, num_batches: int) -> float:
        """Share of padding in the first batches of this rank."""
        real = padded = 0
        for position in range(num_batches):
            epoch, indices = self._place(position)
            lengths = [self._plan(epoch).lengths[i] for i in indices]
            real += sum(lengths)
            padded += len(lengths) * max(lengths)
        return 1 - real / padded

    def _place(self, position: int) -> tuple[int, tuple[int, ...]]:
        """Epoch and clips of this rank's batch; epochs follow each other, however long."""
        place = position * self._world + self._rank
        while self._epochs[-1] <= place:
            self._epochs.append(self._epochs[-1] + len(self._plan(len(self._epochs) - 1).batches))
        epoch = next(e for e in range(len(self._epochs) - 2, -1, -1) if self._epochs[e] <= place)
        return epoch, self._plan(epoch).batches[place - self._epochs[epoch]]

    def _plan(self, epoch: int) -> "_Epoch":
        if self._planned.number != epoch:
            lengths: Sequence[int] = self._lengths
            if self._varied is not None and self._config.augmentation.changes_length:
                lengths = [self._varied_frames(record, epoch) for record in self._records]
            batches = plan_epoch(lengths, self._config, self._seed, epoch, self._weights)
            self._planned = _Epoch(epoch, lengths, batches)
        return self._planned

    def _row(self, index: int, epoch: int) -> Row:
        record, example = self._records[index], self._examples.of(index, epoch)
        streams = self._features(record, epoch)
        if example.backwards:
            streams = {name: x_TD[::-1] for name, x_TD in streams.items()}
        return Row(record.clip.id, streams, self._token(index, example))

    def _features(self, record: ClipRecord, epoch: int) -> Mapping[str, NDArray[np.floating]]:
        streams = first_frames(self._store.features(record), self._config)
        if self._varied is None:
            return streams
        # A clip that became slower is cut once more: the model never reads more.
        return first_frames(self._varied(streams, record.clip.id, epoch), self._config)

    def _varied_frames(self, record: ClipRecord, epoch: int) -> int:
        """Frames that `_features` will give."""
        assert self._varied is not None
        lengths = kept_frames(record.lengths, self._config)
        varied = self._varied.lengths(lengths, record.clip.id, epoch)
        return counted(kept_frames(varied, self._config), self._config)

    def _token(self, index: int, example: Example) -> Tokens:
        if index in self._tokens:
            return self._tokens[index]
        record = self._records[index]
        lines = self._context.lines(record, self._said)
        tokens = self._prompter.tokens(record.clip, example, lines)
        if not self._examples.vary:
            self._tokens[index] = tokens
        return tokens

    def _check_budget(self) -> None:
        """Every clip fits in a batch by itself."""
        if self._config.clips is not None:
            return
        budget = self._config.max_frames or DEFAULT_MAX_FRAMES
        longest = max(range(len(self._records)), key=self._lengths.__getitem__)
        if self._lengths[longest] > budget:
            raise InputError(
                f"clip `{self._records[longest].clip.id}` has {self._lengths[longest]} frames, more"
                f" than `batch.max_frames` ({budget}); raise it, or leave such clips out with"
                " `batch.max_clip_frames`, or cut them with `batch.max_stream_frames`"
            )


def _weights(
    records: Sequence[ClipRecord], weights: Mapping[str, float]
) -> NDArray[np.float64] | None:
    """How often each clip comes; None: all of them once, as without weights."""
    found = np.array([weights.get(record.clip.corpus, 1.0) for record in records])
    return None if (found == 1).all() else found
