"""Search over folds: one sweep for each fold, and the mean score of each configuration over them.

The corpus is split once by signer or document (`sources.splitting`). The same fixed list of
configurations is tried on every fold, so a configuration has one score for each group of signers
that it was not trained on. Every fold is a sweep of its own with finals, report and bundle, and is
resumed as such. The scores that are averaged are those of the search. Runs of different folds share
most of their training clips, so intervals over folds are approximate and rather too narrow.
"""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy import stats

from kinesweep.core.errors import TrainingError
from kinesweep.core.hashing import to_canonical_json
from kinesweep.core.io import write_json
from kinesweep.core.paths import get_state_dir
from kinesweep.pipelines.dry_run import dry_run_sweep
from kinesweep.pipelines.sweeps.fold_tables import (
    FoldSettings,
    check_division,
    list_fold_overrides,
    lock_folds,
    prepare_folds,
    read_num_folds,
)
from kinesweep.pipelines.sweeps.sweep import (
    SweepRequest,
    SweepResult,
    prepare_sweep_dir,
    run_requested_sweep,
)
from kinesweep.pipelines.sweeps.sweep_lock import lock_sweep
from kinesweep.sources.splitting.cross_validation import write_folds
from kinesweep.sweeps.journal.journal import RESULT, Trial, build_trials, read_journal
from kinesweep.sweeps.space.fold_search import check_fold_search
from kinesweep.sweeps.space.loading import load_space
from kinesweep.sweeps.space.parameter import Values

logger = logging.getLogger(__name__)
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class ConfigurationScore:
    """The scores of one configuration over all folds.

    Attributes:
        values: Searched parameter → value.
        scores: Score on each fold; None where its trial did not finish.
        mean: Mean over all folds; None unless every fold has a score.
        gap_to_best: Mean difference from the best configuration; None without a mean.
        gap_interval: Bounds of its 95 % interval, paired over folds; None without a mean and for
            the best itself.
    """

    values: Values
    scores: tuple[float | None, ...]
    mean: float | None = None
    gap_to_best: float | None = None
    gap_interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class CrossValidation:
    """The result of a search over folds.

    Attributes:
        metric: Name of the score.
        configurations: All configurations, the best mean first, those without a mean last.
        folder: Folder with the folds and this result.
        sweeps: Folders of the sweeps, fold by fold.
    """

    metric: str
    configurations: tuple[ConfigurationScore, ...]
    folder: Path
    sweeps: tuple[Path, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the result as values for JSON."""
        values = asdict(self)
        return {**values, "folder": str(self.folder), "sweeps": [str(path) for path in self.sweeps]}


def cross_validate(
    request: SweepRequest, settings: FoldSettings, resume: bool = False, overwrite: bool = False
) -> CrossValidation:
    """Search a space over the folds of its corpus.

    Args:
        request: Sweep to run on every fold; its name begins those of the sweeps.
        settings: Division into folds.
        resume: Whether an existing search over folds may be continued.
        overwrite: Whether an existing one is removed first.

    Raises:
        ConfigError: If the space or its recipe is invalid, or does not suit folds.
        InputError: If the name is not that of a folder, if a search of this name exists that may
            not be continued, or if the corpus cannot be split.
        KinesweepError: If a sweep raises it.
    """
    space, any_recipe = load_space(request.path, request.overrides, request.base)
    recipe = check_fold_search(space, any_recipe)
    with lock_folds(request.name) as folder:
        num_folds = settings.num_folds
        if overwrite:
            # Before anything is removed: a mistyped division keeps the earlier search.
            check_division(recipe, settings)
            _remove_sweeps(request.name, max(num_folds, read_num_folds(folder)))
        elif read_num_folds(folder) == 0:
            # A search over folds of this name has a better message; see `prepare_folds`.
            _check_sweeps(request.name, num_folds, resume)
        prepare_folds(folder, recipe, settings, resume=resume, overwrite=overwrite)
        sweeps: list[Path] = []
        for fold in range(num_folds):
            logger.info(f"fold {fold + 1} of {num_folds}")
            overrides = list_fold_overrides(folder / f"fold-{fold}", recipe)
            name = _name_sweep(request.name, fold)
            fold_request = replace(request, name=name, overrides=(*request.overrides, *overrides))
            result = run_requested_sweep(fold_request, resume=resume, overwrite=overwrite)
            sweeps.append(result.folder)
        metric = space.objectives[0]
        trials_by_fold = [build_trials(read_journal(sweep)) for sweep in sweeps]
        configurations = rank_configurations(trials_by_fold, metric.name, metric.direction_sign)
        outcome = CrossValidation(metric.name, configurations, folder, tuple(sweeps))
        write_json(folder / RESULT, outcome.as_dict())
    return outcome


def raise_if_nothing_ranked(result: CrossValidation) -> None:
    """Raise an error if no configuration has a mean; the result has been written.

    Raises:
        TrainingError: If no configuration finished on every fold.
    """
    if all(one.mean is None for one in result.configurations):
        raise TrainingError(
            f"no configuration has a `{result.metric}` on every fold, so none can be ranked; see"
            f" `{result.folder / RESULT}` and `kinesweep status {result.sweeps[0].name}`"
        )


def _name_sweep(name: str, fold: int) -> str:
    """Return the name of the sweep of one fold."""
    return f"{name}-fold-{fold}"


def _check_sweeps(name: str, num_folds: int, resume: bool) -> None:
    """Check before the first fold that every fold's sweep may be run.

    Args:
        name: Name of the search.
        num_folds: Number of its folds.
        resume: Whether existing sweeps may be continued.

    Raises:
        InputError: If a sweep exists that may not be continued.
    """
    for fold in range(num_folds):
        sweep_dir = get_state_dir() / "sweeps" / _name_sweep(name, fold)
        prepare_sweep_dir(sweep_dir, resume=resume, overwrite=False)


def _remove_sweeps(name: str, num_folds: int) -> None:
    """Remove the sweeps of all folds before the first one starts again.

    One that stayed until its turn would be continued if the new search is interrupted before it.

    Args:
        name: Name of the search.
        num_folds: Number of folds, now or earlier, whichever is larger.

    Raises:
        InputError: If another process runs one of the sweeps.
    """
    for fold in range(num_folds):
        with lock_sweep(_name_sweep(name, fold)):
            shutil.rmtree(get_state_dir() / "sweeps" / _name_sweep(name, fold), ignore_errors=True)


def dry_run_cross_validation(
    request: SweepRequest, settings: FoldSettings
) -> tuple[SweepResult, str]:
    """Run every stage of the first fold's sweep on a few clips; estimate the time of all folds.

    Args:
        request: See `cross_validate`.
        settings: Division into folds, all of which are made.

    Returns:
        The result of the dry sweep, and sentences with the estimated time.

    Raises:
        KinesweepError: If `cross_validate` or `dry_run_sweep` would raise it.
    """
    space, any_recipe = load_space(request.path, request.overrides, request.base)
    recipe = check_fold_search(space, any_recipe)
    source = recipe.effective_source
    with TemporaryDirectory(prefix="kinesweep-folds-") as temporary:
        folder = Path(temporary) / "folds"
        write_folds(source, settings.by, settings.num_folds, settings.seed, folder)
        overrides = list_fold_overrides(folder / "fold-0", recipe)
        first = replace(request, overrides=(*request.overrides, *overrides))
        result, estimate = dry_run_sweep(first)
    return result, f"{estimate}; {settings.num_folds} folds take {settings.num_folds} times as long"


def rank_configurations(
    trials_by_fold: Sequence[Sequence[Trial]], metric: str, direction_sign: int
) -> tuple[ConfigurationScore, ...]:
    """Rank configurations by their mean score over folds.

    Args:
        trials_by_fold: Trials of each fold's search.
        metric: Name of the score.
        direction_sign: 1 if higher scores are better, else -1.

    Returns:
        Configurations, the best first; those that did not finish on every fold are last.
    """
    values_by_key: dict[str, Values] = {}
    scores_by_key: dict[str, list[float | None]] = {}
    for fold, trials in enumerate(trials_by_fold):
        for trial in trials:
            key = to_canonical_json(trial.values)
            values_by_key.setdefault(key, trial.values)
            scores = scores_by_key.setdefault(key, [None] * len(trials_by_fold))
            if trial.state == "finished":
                scores[fold] = trial.scores.get(metric)
    complete = {
        key: np.array(scores, float) for key, scores in scores_by_key.items() if None not in scores
    }
    ranked = sorted(complete, key=lambda key: -direction_sign * float(complete[key].mean()))
    finished = [
        _compare_with_best(values_by_key[key], complete[key], complete[ranked[0]], key == ranked[0])
        for key in ranked
    ]
    unfinished = [
        ConfigurationScore(values_by_key[key], tuple(scores))
        for key, scores in scores_by_key.items()
        if key not in complete
    ]
    return (*finished, *unfinished)


def _compare_with_best(
    values: Values, scores_F: np.ndarray, best_F: np.ndarray, is_best: bool
) -> ConfigurationScore:
    """Compare a configuration with the best one, fold by fold.

    Args:
        values: Values of the configuration.
        scores_F: Its scores, one for each of F folds.
        best_F: Scores of the best configuration.
        is_best: Whether the configuration is the best one.
    """
    gaps_F = scores_F - best_F
    gap, num_folds = float(gaps_F.mean()), len(gaps_F)
    # Student's t, because the deviation is estimated from as few gaps as there are folds.
    half_width = float(
        stats.t.ppf((1 + _CONFIDENCE) / 2, num_folds - 1) * gaps_F.std(ddof=1) / num_folds**0.5
    )
    interval = None if is_best else (gap - half_width, gap + half_width)
    return ConfigurationScore(
        values, tuple(scores_F.tolist()), float(scores_F.mean()), gap, interval
    )
