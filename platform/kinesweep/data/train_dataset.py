"""The endless training data of one rank, which maps a position to a batch.

The batch at a position is a pure function of the random seed and the position. There is no state to
save, any process can compute any batch, and a resumed run continues where it stopped. Data loader
workers only compute batches ahead of time.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.prompt import PromptSettings
from kinesweep.core.batch import Batch
from kinesweep.core.errors import InputError
from kinesweep.data.absent_streams import fill_absent_streams
from kinesweep.data.batch_loader import BatchLoader
from kinesweep.data.bucketing import DEFAULT_MAX_FRAMES
from kinesweep.data.collate import BatchItem, ClipTokens, collate
from kinesweep.data.context import DocumentContext, get_first_references
from kinesweep.data.length_limits import (
    compute_truncation_stats,
    filter_clips_by_length,
    truncate_streams,
)
from kinesweep.data.prompt import PromptBuilder
from kinesweep.data.run_length.epoch_planner import EpochPlanner
from kinesweep.data.task_sampling import Example, ExampleSampler
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store


class TrainDataset(Dataset[Batch]):
    """An endless dataset of the training batches of one rank, indexed by position.

    Args:
        store: Store of the features.
        tokenizer: Tokenizer.
        config: Batch config: frame budget, length limits, tasks, augmentation and ablation.
        seed: Random seed for order, augmentation, tasks and the wrong pairs of the ablation.
        rank: Rank of this process; rank r of w gets every w-th batch.
        world_size: Number of ranks.
        weights: Corpus name → average number of times its clips occur per epoch.
        prompt_settings: Prompt and context settings.
        augmentation_pairs: Stream → stream whose random augmentation it shares, for reference
            motions.

    Attributes:
        dropped_counts: Reason → number of clips dropped by the length limits.
        truncation_stats: Stream → number of truncated clips and removed frames.

    Raises:
        InputError: If no clip is left, a clip does not fit in `batch.max_frames`, or clips cannot
            be augmented as `augmentation` or used as `tasks` requires.
    """

    def __init__(  # noqa: PLR0913 (the recipe's settings of batches)
        self,
        store: Store,
        tokenizer: TextTokenizer,
        config: BatchConfig,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        *,
        weights: Mapping[str, float] | None = None,
        prompt_settings: PromptSettings = PromptSettings(),
        augmentation_pairs: Mapping[str, str] | None = None,
    ) -> None:
        self._store, self._tokenizer, self._config = store, tokenizer, config
        self._seed, self._rank, self._world_size = seed, rank, world_size
        all_records = store.get_records("train")
        records, self.dropped_counts = filter_clips_by_length(all_records, config, "train")
        self._examples = ExampleSampler(records, config, prompt_settings.prompt, seed)
        self._records = self._examples.records
        self._prompt_builder = PromptBuilder(tokenizer, prompt_settings)
        # Context comes from all clips of the split, also from those dropped by the limits.
        self._context, self._reference_texts = (
            DocumentContext(all_records, prompt_settings.context),
            get_first_references(all_records),
        )
        self.truncation_stats = compute_truncation_stats(records, config)
        self._planner = EpochPlanner(
            self._records, config, store.schema, seed, weights, augmentation_pairs
        )
        self._check_budget()
        # Tokens by example, if they do not change between epochs.
        self._tokens: dict[int, ClipTokens] = {}
        # Index of the first batch of each epoch planned so far, over all ranks.
        self._epoch_starts: list[int] = [0]

    def __getitem__(self, position: int) -> Batch:
        """Return the batch at a position of this rank, counted from 0 over all epochs."""
        epoch, indices = self._locate_batch(position)
        items = [self._build_item(i, epoch) for i in indices]
        zero_features = self._config.ablation == "zeros"
        return collate(items, self._tokenizer.vocabulary.pad_id, zero_features)

    def get_clip_ids(self, position: int) -> tuple[str, ...]:
        """Return the ids of the clips in the batch at a position, without loading features."""
        return tuple(self._records[i].clip.id for i in self._locate_batch(position)[1])

    def find_largest_batches(self) -> list[tuple[ClipRecord, ...]]:
        """Return the batch with the longest clip and the batch with the most padded frames.

        They are those of the first epoch, over all ranks. No features are read.
        """
        batches = self._planner.plan(0).batches
        longest = [max(self._planner.lengths[i] for i in indices) for indices in batches]
        padded = [len(indices) * length for indices, length in zip(batches, longest, strict=True)]
        return [
            tuple(self._records[i] for i in batches[sizes.index(max(sizes))])
            for sizes in (longest, padded)
        ]

    def build_loader(self, start: int, stop: int) -> BatchLoader[Batch]:
        """Build a loader of the batches at the positions from `start` to before `stop`."""
        return BatchLoader(self, range(start, stop), self._config.loader_workers)

    def iter_tokens(self) -> Iterator[tuple[ClipRecord, ClipTokens]]:
        """Iterate over the clips with their translation tokens, once for each possible target.

        Other tasks are left out. No features are read.
        """
        for index, record in enumerate(self._records):
            for example in self._examples.get_translations(index):
                yield record, self._get_tokens(index, example)

    def compute_padding_share(self, num_batches: int) -> float:
        """Compute the share of padding among the frames of this rank's first `num_batches` batches.

        Frames are counted as for the frame budget: summed over the streams of each clip, after
        truncation and augmentation, without reference motions. The result is between 0 (no padding)
        and 1.
        """
        num_real_frames = num_padded_frames = 0
        for position in range(num_batches):
            epoch, indices = self._locate_batch(position)
            lengths = [self._planner.plan(epoch).lengths[i] for i in indices]
            num_real_frames += sum(lengths)
            num_padded_frames += len(lengths) * max(lengths)
        return 1 - num_real_frames / num_padded_frames

    def _locate_batch(self, position: int) -> tuple[int, tuple[int, ...]]:
        """Return the epoch of the batch at a position of this rank and its clip indices."""
        # Ranks take turns in one sequence of batches, so an epoch can end on any rank.
        global_position = position * self._world_size + self._rank
        # Epochs are planned in order, because their numbers of batches can differ.
        while self._epoch_starts[-1] <= global_position:
            self._epoch_starts.append(
                self._epoch_starts[-1]
                + len(self._planner.plan(len(self._epoch_starts) - 1).batches)
            )
        epoch = bisect_right(self._epoch_starts, global_position) - 1
        index_in_epoch = global_position - self._epoch_starts[epoch]
        return epoch, self._planner.plan(epoch).batches[index_in_epoch]

    def _build_item(self, index: int, epoch: int) -> BatchItem:
        """Build the batch item of an example in an epoch: its features and tokens."""
        record, example = self._records[index], self._examples.get_example(index, epoch)
        streams = self._load_features(record, epoch)
        if example.is_reversed:
            streams = {name: x_TD[::-1] for name, x_TD in streams.items()}
        # Last, so that truncation and augmentation see only streams that the clip has.
        streams = fill_absent_streams(streams, self._store.schema.streams)
        return BatchItem(record.clip.id, streams, self._get_tokens(index, example))

    def _load_features(self, record: ClipRecord, epoch: int) -> Mapping[str, NDArray[np.floating]]:
        """Load the features of a clip, stream → (T, D), and truncate and augment them."""
        # The epoch alone selects a variant, so a resumed run and every worker read the same one.
        features = self._store.get_features(record.at_epoch(epoch))
        streams = truncate_streams(features, self._config)
        augmentation = self._planner.augmentation
        if augmentation is None:
            return streams
        # Slowing a clip down lengthens it, so it is truncated again.
        return truncate_streams(augmentation(streams, record.clip.id, epoch), self._config)

    def _get_tokens(self, index: int, example: Example) -> ClipTokens:
        """Return the tokens of an example of the clip at `index`.

        They are cached if the example is the same in every epoch.
        """
        if index in self._tokens:
            return self._tokens[index]
        record = self._records[index]
        sentences = self._context.get_sentences(record, self._reference_texts)
        tokens = self._prompt_builder.build_tokens(record.clip, example, sentences)
        if not self._examples.varies_by_epoch:
            self._tokens[index] = tokens
        return tokens

    def _check_budget(self) -> None:
        """Check that every clip fits in a batch by itself; with `batch_size` every clip does.

        Raises:
            InputError: If the longest clip has more than `batch.max_frames` frames.
        """
        # With a fixed number of clips per batch there is no frame budget.
        if self._config.batch_size is not None:
            return
        budget = self._config.max_frames or DEFAULT_MAX_FRAMES
        lengths = self._planner.lengths
        longest_index = max(range(len(lengths)), key=lengths.__getitem__)
        if lengths[longest_index] > budget:
            raise InputError(
                f"clip `{self._records[longest_index].clip.id}` has {lengths[longest_index]}"
                f" frames, more than `batch.max_frames` ({budget}); raise it, drop such clips with"
                " `batch.max_clip_frames`, or truncate them with `batch.truncate_frames`"
            )
