"""The loader of batches in a given order, in this process or in worker processes.

PyTorch wraps an error of a worker in a traceback. An error that a person can fix, such as a video
that was removed while a model trains on it, is therefore returned like a batch and raised again in
this process.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from kinesweep.core.errors import KinesweepError

B = TypeVar("B")


class BatchLoader(Generic[B]):
    """An iterable of the batches at given positions of a dataset.

    Args:
        dataset: Batches by position.
        positions: Positions of the batches, in order.
        num_workers: Number of processes that prepare batches; 0: this process does it.
    """

    def __init__(self, dataset: Dataset[B], positions: range, num_workers: int) -> None:
        self._loader: DataLoader[B | KinesweepError] = DataLoader(
            _ErrorsAsValues(dataset),
            batch_size=None,
            sampler=positions,
            num_workers=num_workers,
            # The loader draws a seed; its own generator keeps it from changing dropout's numbers.
            generator=torch.Generator().manual_seed(0),
        )

    def __iter__(self) -> Iterator[B]:
        """Yield the batches in the order of their positions.

        Raises:
            KinesweepError: If a batch cannot be built.
        """
        for item in self._loader:
            # Raised here, so that the message is not wrapped in the traceback of a worker.
            if isinstance(item, KinesweepError):
                raise item
            yield item


class _ErrorsAsValues(Dataset[B | KinesweepError]):
    """A dataset that returns the error for which a batch cannot be built, instead of raising it.

    Args:
        dataset: Batches by position.
    """

    def __init__(self, dataset: Dataset[B]) -> None:
        self._dataset = dataset

    def __getitem__(self, position: int) -> B | KinesweepError:
        """Return the batch at a position, or the error for which it cannot be built."""
        try:
            return self._dataset[position]
        except KinesweepError as error:
            return error
