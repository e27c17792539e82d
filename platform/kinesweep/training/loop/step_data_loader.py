"""The data loader of a run: all remaining batches as a single epoch.

It replaces accelerate's data loader, which repeats and re-splits batches, and counts what it reads.
"""

from collections.abc import Callable, Iterator
from typing import Any

from kinesweep.data.train_dataset import TrainDataset
from kinesweep.training.reproducibility.determinism import preserve_rng_state


class StepDataLoader:
    """A data loader that yields the remaining batches of the whole run as a single epoch.

    The epoch has exactly the length of the run: epochs of unequal length break the Trainer's count
    of steps (a run of 120 steps silently ended at 119).

    Args:
        dataset: Training data with random access by batch position.
        num_batches: Number of batches of the whole run on this rank.
        get_position: Function that returns the number of batches that earlier calls of the run
            have read; called when iteration starts.

    Attributes:
        num_clips: Number of clips read so far.
        num_frames: Number of frames read so far, without padding.
        num_padded_frames: Number of frames read so far, with padding.
    """

    def __init__(
        self, dataset: TrainDataset, num_batches: int, get_position: Callable[[], int]
    ) -> None:
        self._dataset = dataset
        self._num_batches = num_batches
        self._get_position = get_position
        self.num_clips = self.num_frames = self.num_padded_frames = 0

    def __len__(self) -> int:
        """Return the number of batches of the whole run, including those read by earlier calls."""
        return self._num_batches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the model's keyword arguments for each remaining batch, and count what is read."""
        # Opening a loader draws from the CPU generator, which would change the dropout of a resumed
        # run.
        with preserve_rng_state():
            batches = iter(self._dataset.build_loader(self._get_position(), self._num_batches))
            batch = next(batches, None)
        while batch is not None:
            self.num_clips += batch.num_clips
            self.num_frames += batch.num_frames
            self.num_padded_frames += batch.num_padded_frames
            yield batch.get_forward_kwargs()
            batch = next(batches, None)
