"""Folder of a search over folds: its lock, the division of the corpus, and the tables of the folds.

The tables are written once. A resumed search divides the corpus again and compares: averages over
folds of two corpora, or of two divisions, would be wrong without a word.
"""

import filecmp
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import InputError
from kinesweep.core.io import hold_lock_file, read_json, write_json
from kinesweep.core.paths import get_state_dir
from kinesweep.sources.splitting.cross_validation import get_folds_root, write_folds

GroupField = Literal["signer", "document"]
# A search that was killed or cancelled a moment ago may still be ending.
_MAX_LOCK_WAIT_S = 10.0
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


@contextmanager
def lock_folds(name: str) -> Iterator[Path]:
    """Hold the lock of a search over folds within the `with` block.

    Args:
        name: Name of the search.

    Yields:
        Folder of the search, which may not exist yet.

    Raises:
        InputError: If another process runs it.
    """
    state_dir = get_state_dir()
    with ExitStack() as stack:
        # Only while the lock is taken: a `TimeoutError` of a sweep has another meaning.
        try:
            stack.enter_context(
                hold_lock_file(state_dir / "locks" / f"folds-{name}.lock", _MAX_LOCK_WAIT_S)
            )
        except TimeoutError:
            raise InputError(
                f"another process runs the search over folds `{name}`; wait for it or stop it, or"
                " give this one another `--name`"
            ) from None
        yield state_dir / "folds" / name


def prepare_folds(
    folder: Path, recipe: Recipe, settings: FoldSettings, *, resume: bool, overwrite: bool
) -> None:
    """Write the tables of the folds, or check that existing ones are those of settings and corpus.

    Raises:
        InputError: If the folder exists and may not be used, or the corpus cannot be split.
    """
    settings_path = folder / _SETTINGS_FILE
    if overwrite:
        shutil.rmtree(folder, ignore_errors=True)
    if settings_path.is_file():
        if not resume:
            text = (
                "continue it with `--resume`, replace it with `--overwrite`, or choose a `--name`"
            )
            raise InputError(f"`{folder}` holds a search over folds already; {text}")
        _check_folds(folder, recipe, settings)
        return
    # Folds without settings were interrupted while they were written.
    shutil.rmtree(folder, ignore_errors=True)
    _write_tables(folder, recipe, settings)
    # Last: with this file, the tables of all folds are complete.
    write_json(settings_path, asdict(settings))


def check_division(recipe: Recipe, settings: FoldSettings) -> None:
    """Check that the corpus can be divided, by dividing it in a temporary folder.

    Raises:
        InputError: If it cannot be divided into these folds.
    """
    with TemporaryDirectory(prefix="kinesweep-folds-") as temporary:
        _write_tables(Path(temporary) / "folds", recipe, settings)


def read_num_folds(folder: Path) -> int:
    """Return the number of folds that the settings in a folder name; 0 without readable ones."""
    try:
        return int(read_json(folder / _SETTINGS_FILE)["num_folds"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0


def _check_folds(folder: Path, recipe: Recipe, settings: FoldSettings) -> None:
    """Check that existing folds are those of the settings, and of the corpus as it is now.

    Raises:
        InputError: If they are not, or if the settings or a table are damaged.
    """
    described, path = asdict(settings), folder / _SETTINGS_FILE
    try:
        stored = read_json(path)
    except ValueError:
        raise InputError(
            f"`{path}` is damaged; restore it, or start again with `--overwrite`"
        ) from None
    if stored != described:
        text = f"was divided with {stored}, not with {described}; use these settings"
        raise InputError(f"`{folder}` {text}, or `--overwrite`")
    with TemporaryDirectory(prefix="kinesweep-folds-") as temporary:
        tables = _write_tables(Path(temporary) / "folds", recipe, settings)
        names = {str(table.relative_to(Path(temporary) / "folds")) for table in tables}
        # A table that only the stored folds have is that of a split which has no clips any more.
        names |= {str(table.relative_to(folder)) for table in folder.glob("fold-*/*.tsv")}
        same, _, _ = filecmp.cmpfiles(folder, Path(temporary) / "folds", names, shallow=False)
    if changed := sorted(names - {*same}):
        raise InputError(
            f"`{folder / changed[0]}` is not what the corpus gives now ({len(changed)} of"
            f" {len(names)} tables differ): the corpus, `source` of the recipe or the table was"
            " changed. Undo that, start again with `--overwrite`, or choose a `--name`"
        )


def _write_tables(folder: Path, recipe: Recipe, settings: FoldSettings) -> list[Path]:
    """Write the tables of all folds and return their paths."""
    source = recipe.effective_source
    return write_folds(source, settings.by, settings.num_folds, settings.seed, folder)


def list_fold_overrides(folder: Path, recipe: Recipe) -> list[str]:
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
