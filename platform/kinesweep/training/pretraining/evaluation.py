"""Validation of a pretraining objective: fixed windows, shared out over the workers.

Every batch of windows is the same for any number of workers, and its values are put back into the
order of the windows, so the scores are those of one worker.
"""

import torch
from torch import Tensor

from kinesweep.core.collectives import all_gather, get_rank_and_world_size
from kinesweep.data.batch_loader import BatchLoader
from kinesweep.data.windows.window_dataset import WindowDataset
from kinesweep.models.pretraining.objective import ClipSums, PretrainingObjective
from kinesweep.training.pretraining.precision import Precision


class PretrainingEvaluator:
    """An evaluator that scores an objective on all validation windows.

    Args:
        dataset: Batches of validation windows by position.
        num_batches: Number of batches.
        num_loader_workers: Processes that prepare batches; 0: this process does it.
        precision: Numeric precision, with the device.
    """

    def __init__(
        self,
        dataset: WindowDataset,
        num_batches: int,
        num_loader_workers: int,
        precision: Precision,
    ) -> None:
        self._dataset, self._num_batches = dataset, num_batches
        self._num_loader_workers, self._precision = num_loader_workers, precision

    def evaluate(
        self, objective: PretrainingObjective
    ) -> tuple[dict[str, float], dict[str, ClipSums]]:
        """Compute the scores of an objective, the same on all workers; all must call this.

        The objective is left in evaluation mode.

        Returns:
            The scores, and the sums behind those that are means over clips.

        Raises:
            KinesweepError: If a batch cannot be read.
        """
        objective.eval()
        rank, world_size = get_rank_and_world_size()
        # Whole batches are shared out: their composition, and so every value, stays the same.
        positions = range(rank, self._num_batches, world_size)
        values: dict[int, tuple[dict[str, Tensor], tuple[str, ...]]] = {}
        loader = BatchLoader(self._dataset, positions, self._num_loader_workers)
        for position, batch in zip(positions, loader, strict=True):
            with torch.no_grad(), self._precision.autocast():
                computed = objective.compute_values(batch.to(self._precision.device))
            values[position] = (
                # On the CPU, because the values of a whole split would fill a GPU.
                {name: value.float().cpu() for name, value in computed.items()},
                batch.clip_ids_B,
            )
        merged = {key: entry for part in all_gather(values) for key, entry in part.items()}
        ordered = [merged[position] for position in range(self._num_batches)]
        names = ordered[0][0]
        all_values = {name: torch.cat([entry[0][name] for entry in ordered]) for name in names}
        clip_ids = [clip_id for entry in ordered for clip_id in entry[1]]
        scores = objective.compute_scores(all_values, clip_ids)
        return scores, objective.compute_clip_sums(all_values, clip_ids)
