"""Comparison of pretraining runs by a score of their validation clips.

Every checkpoint of a pretraining run keeps the sums of its scores clip by clip, and `best` holds
those of the best one. Masked loss and recall are ratios of such sums; a median rank is not, so
configurations are not ranked by it.

Shapes: N clips, K = 2 statistics of a clip: sum and number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.core.io import read_json
from kinesweep.store import Store
from kinesweep.sweeps.journal.run_folders import parse_run_name
from kinesweep.sweeps.results.ranking import RankingEntry
from kinesweep.sweeps.results.scorer import ResultsByFinalist
from kinesweep.sweeps.search.finals import Finalist
from kinesweep.training.run_records.clip_sums import CLIP_SUMS_FILENAME
from kinesweep.training.run_records.result import RunResult

_NUM_RESAMPLES = 1000
_NOTE = (
    "These are pretraining runs: there are no translations, no scores on test and no bundle. The"
    " exported folder holds the best weights of the winner, for `signhiera` and `model.init_from`."
)


@dataclass(frozen=True)
class PretrainingScorer:
    """Scores of pretraining runs; implements `Scorer`.

    Attributes:
        metric: Name of the deciding objective.
        store: Feature store with the documents of the validation clips.
    """

    metric: str
    store: Store

    @property
    def num_resamples(self) -> int:
        """Return the number of resamples; sums are cheap."""
        return _NUM_RESAMPLES

    @property
    def notes(self) -> Sequence[str]:
        """Return the statement of what a sweep over pretraining leaves out."""
        return (_NOTE,)

    def compute_score_from_sum(self, total_K: NDArray[np.float64]) -> float:
        """Compute the ratio of both sums."""
        return float(total_K[0] / total_K[1])

    def collect_statistics(
        self, finalists: Sequence[Finalist], results: ResultsByFinalist
    ) -> tuple[list[RankingEntry], list[str]]:
        """Read the sums of each validation clip; see `Scorer`."""
        clips = [record.clip for record in self.store.get_records("validation")]
        documents = {clip.id: clip.document or clip.id for clip in clips}
        entries: list[RankingEntry] = []
        clip_ids: list[str] = []
        for finalist in finalists:
            statistics = {}
            for result in results[finalist.name]:
                seed = parse_run_name(result.folder.name).seed
                statistics[seed], clip_ids = self._read_statistics(result)
            if finalist.ranked and len(statistics) >= 2:
                entries.append(RankingEntry(finalist.name, statistics))
        return entries, [documents[clip_id] for clip_id in clip_ids]

    def score_baselines(
        self, names: Sequence[str], finalists: Sequence[Finalist], results: ResultsByFinalist
    ) -> dict[str, float]:
        """Return the expectation of a recall for random ranks; a loss has no baseline."""
        assert not names, "checked when the space was loaded"
        chances = {
            result.scores[f"chance_{self.metric}"]
            for finalist_results in results.values()
            for result in finalist_results
            if f"chance_{self.metric}" in result.scores
        }
        # It depends on the clips only, which all runs share.
        return {"random ranks": max(chances)} if chances else {}

    def _read_statistics(self, result: RunResult) -> tuple[NDArray[np.float64], list[str]]:
        """Read the statistics (N, K) of a run and the clips, both in the order of sorted ids.

        Raises:
            InputError: If the file is missing or lacks the objective.
        """
        path = result.folder / "best" / CLIP_SUMS_FILENAME
        sums = read_json(path).get(self.metric) if path.is_file() else None
        if sums is None:
            raise InputError(
                f"`{path}` has no `{self.metric}` of each clip; the run was changed after it ended."
                " Run the sweep again with `--overwrite`"
            )
        # The order must be that of every other run, whatever the order in the file.
        clip_ids = sorted(sums)
        return np.array([sums[clip_id] for clip_id in clip_ids], np.float64), clip_ids
