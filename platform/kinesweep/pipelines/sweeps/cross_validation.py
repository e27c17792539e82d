"""Search over folds: one sweep for each fold, and the mean score of each configuration over them.

The corpus is split once by signer or document (`sources.splitting`). The same fixed list of
configurations is tried on every fold, so a configuration has one score for each group of signers
that it was not trained on. Every fold is a sweep of its own with finals, report and bundle, and is
resumed as such. The scores that are averaged are those of the search. Runs of different folds share
most of their training clips, so intervals over folds are approximate and rather too narrow.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import compute_file_hashes
from kinesweep.core.io import read_json, write_folder, write_json
from kinesweep.core.paths import get_state_dir
from kinesweep.pipelines.dry_run import dry_run_sweep
from kinesweep.pipelines.sweeps.sweep import SweepRequest, SweepResult, run_requested_sweep
from kinesweep.pipelines.sweeps.sweep_lock import lock_fold_search, lock_sweep
from kinesweep.sources.splitting.cross_validation import get_folds_root, write_folds
from kinesweep.sweeps.journal.journal import RESULT, build_trials, read_journal
from kinesweep.sweeps.results.fold_ranking import ConfigurationScore, rank_over_folds
from kinesweep.sweeps.space.fold_search import check_fold_search
from kinesweep.sweeps.space.loading import load_space

logger = logging.getLogger(__name__)

GroupField = Literal["signer", "document"]
_SETTINGS_FILE = "folds.json"


@dataclass(frozen=True)
class FoldSettings:
    """The division of a corpus into folds.

    Attributes:
        by: Field of a clip that no two folds share.
        num_folds: Number of folds.
        seed: Random seed for the assignment of groups to folds.
    """

    by: GroupField
    num_folds: int
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings, so that no sweep starts with impossible ones.

        Raises:
            InputError: If folds cannot be made by this property or in this number.
        """
        if self.by not in get_args(GroupField):
            allowed = " or ".join(f"`{field}`" for field in get_args(GroupField))
            raise InputError(f"`by` must be {allowed}, but is `{self.by}`")
        if self.num_folds < 2:
            raise InputError(f"`folds` must be at least 2, but is {self.num_folds}")


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
    folder = get_state_dir() / "folds" / request.name
    with lock_fold_search(request.name):
        if overwrite or not _has_settings(folder, settings, resume):
            _write_folds(folder, recipe, settings)
        else:
            _check_folds(folder, recipe, settings)
        sweeps: list[Path] = []
        for fold in range(settings.num_folds):
            logger.info(f"fold {fold + 1} of {settings.num_folds}")
            overrides = _list_fold_overrides(folder / f"fold-{fold}", recipe)
            fold_request = replace(
                request,
                name=_name_fold_sweep(request.name, fold),
                overrides=(*request.overrides, *overrides),
            )
            result = run_requested_sweep(fold_request, resume=resume, overwrite=overwrite)
            sweeps.append(result.folder)
        metric = space.objectives[0]
        trials_by_fold = [build_trials(read_journal(sweep)) for sweep in sweeps]
        configurations = rank_over_folds(trials_by_fold, metric.name, metric.direction_sign)
        outcome = CrossValidation(metric.name, configurations, folder, tuple(sweeps))
        write_json(folder / RESULT, outcome.as_dict())
    return outcome


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
        overrides = _list_fold_overrides(folder / "fold-0", recipe)
        first = replace(request, overrides=(*request.overrides, *overrides))
        result, estimate = dry_run_sweep(first)
    return result, f"{estimate}; {settings.num_folds} folds take {settings.num_folds} times as long"


def _name_fold_sweep(search: str, fold: int) -> str:
    """Return the name of the sweep of a fold."""
    return f"{search}-fold-{fold}"


def _has_settings(folder: Path, settings: FoldSettings, resume: bool) -> bool:
    """Return whether a search with these settings exists.

    Args:
        folder: Folder of the search.
        settings: Division into folds that is wanted.
        resume: Whether an existing search may be continued.

    Raises:
        InputError: If one exists but may not be continued, or with another division.
    """
    settings_path = folder / _SETTINGS_FILE
    if not settings_path.is_file():
        return False
    if not resume:
        raise InputError(
            f"`{folder}` holds a search over folds already; continue it with `--resume`, replace it"
            " with `--overwrite`, or choose a `--name`"
        )
    if (stored := read_json(settings_path)) != (described := asdict(settings)):
        raise InputError(
            f"`{folder}` was divided with {stored}, not with {described}; use these settings, or"
            " `--overwrite`"
        )
    return True


def _check_folds(folder: Path, recipe: Recipe, settings: FoldSettings) -> None:
    """Check that the corpus would still be divided into the folds of a search.

    The sweeps read these tables and not those of the corpus, so they would not notice the change.

    Args:
        folder: Folder of the search.
        recipe: Recipe with the corpus.
        settings: Division into folds.

    Raises:
        InputError: If the tables differ.
    """
    with TemporaryDirectory(prefix="kinesweep-folds-") as temporary:
        current = Path(temporary, "folds")
        write_folds(
            recipe.effective_source, settings.by, settings.num_folds, settings.seed, current
        )
        tables = compute_file_hashes(current)
    hashes = compute_file_hashes(folder).items()
    # Beside them are the settings and, at the end, the result.
    if {name: digest for name, digest in hashes if name.startswith("fold-")} != tables:
        raise InputError(
            f"the corpus has changed since it was divided into `{folder}`; restore it, start again"
            " with `--overwrite`, or choose another `--name`"
        )


def _write_folds(folder: Path, recipe: Recipe, settings: FoldSettings) -> None:
    """Write the tables of all folds and the settings; an earlier search and its sweeps are removed.

    If the corpus cannot be divided, the earlier search is kept.

    Args:
        folder: Folder of the search.
        recipe: Recipe with the corpus.
        settings: Division into folds.

    Raises:
        InputError: If the corpus cannot be divided, or another process runs an earlier sweep.
        SourceError: If the metadata of the corpus is malformed.
    """
    earlier_sweeps = _list_sweep_dirs(folder)

    def write_files(temp_dir: Path) -> None:
        """Write to a temporary folder, which then replaces that of an earlier search."""
        write_folds(
            recipe.effective_source, settings.by, settings.num_folds, settings.seed, temp_dir
        )
        write_json(temp_dir / _SETTINGS_FILE, asdict(settings))
        # All at once and not each before its fold: after an interruption, `--resume` would continue
        # the earlier ones. Before the rename, because the settings name them.
        for sweep in earlier_sweeps:
            shutil.rmtree(sweep, ignore_errors=True)

    with ExitStack() as stack:
        for sweep in earlier_sweeps:
            stack.enter_context(lock_sweep(sweep.name))
        write_folder(folder, write_files)


def _list_sweep_dirs(folder: Path) -> list[Path]:
    """List the folders of the sweeps of an existing search; none without one.

    They are found by its settings, because others may have given such names to sweeps of their own.
    """
    settings_path = folder / _SETTINGS_FILE
    if not settings_path.is_file():
        return []
    num_folds = int(read_json(settings_path)["num_folds"])
    sweeps_dir = get_state_dir() / "sweeps"
    return [sweeps_dir / _name_fold_sweep(folder.name, fold) for fold in range(num_folds)]


def _list_fold_overrides(folder: Path, recipe: Recipe) -> list[str]:
    """List the overrides by which a recipe reads the tables of one fold."""
    source = recipe.effective_source
    paths: Mapping[str, Path] = {
        split: folder / f"{split}.tsv" for split in ("train", "validation", "test")
    }
    values = {split: str(path) if path.is_file() else None for split, path in paths.items()}
    key = "motions" if source.kind == "skeletons" else "root"
    if hasattr(source, key):  # tables of texts name no files
        values[key] = str(get_folds_root(source))
    # JSON is valid YAML, whatever characters a path has.
    return [f"recipe.source.{key}={json.dumps(value)}" for key, value in values.items()]
