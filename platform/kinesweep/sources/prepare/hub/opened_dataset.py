"""Opening of a data set of Hugging Face: from the Hub, from Parquet files, or from a saved folder.

Rows are streamed, so memory holds a few of them at a time. Media columns are not decoded: their
bytes or paths are taken as they are. No code of a data set is run; `datasets` 5 supports none.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kinesweep.core.errors import InputError, format_one_line
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.sources.prepare.hub.hub_files import HubFiles

_SAVED_DATASET_FILES = ("state.json", "dataset_dict.json")
"""Files in a folder that `save_to_disk` wrote: of one split, and of several."""


@dataclass(frozen=True)
class OpenedDataset:
    """A data set whose rows can be read.

    Attributes:
        name: Name on the Hub, or path.
        splits: Split by name, a `datasets.Dataset` or a `datasets.IterableDataset`.
        files: Folder that paths in the rows are relative to, or files of a data set on the Hub.
        stamp: Hash of the state of the data, for comparison with that of an earlier call.
    """

    name: str
    splits: dict[str, Any]
    files: Path | HubFiles
    stamp: str

    @property
    def features(self) -> dict[str, Any]:
        """Return the feature of each column that all splits have."""
        first, *others = (dict(split.features) for split in self.splits.values())
        return {name: value for name, value in first.items() if all(name in o for o in others)}

    def get_size(self, split: str) -> int | None:
        """Return the number of rows of a split, or None if it is not known before reading."""
        size = getattr(self.splits[split], "num_rows", None)
        return int(size) if size is not None else None

    def read_rows(self, split: str, columns: list[str], start: int) -> Iterator[dict[str, Any]]:
        """Yield the rows of a split from a position on, with some of its columns.

        Raises:
            InputError: If the data cannot be read.
        """
        try:
            yield from self.splits[split].select_columns(columns).skip(start)
        # Only code of `datasets` runs here; network, storage and file formats have own errors.
        except Exception as error:
            raise InputError(
                f"`{self.name}` cannot be read: {format_one_line(error)}; run the same command"
                " again to continue"
            ) from None


def open_dataset(name: str, config: str | None, revision: str | None) -> OpenedDataset:
    """Open a data set on the Hub, a folder of Parquet files, a Parquet file or a saved folder.

    Args:
        name: Path, or name on the Hub such as `owner/name`.
        config: Name of its configuration (subset), or None for the default.
        revision: Branch, tag or commit of a data set on the Hub, or None for `main`.

    Raises:
        InputError: If the library is missing, or the data set does not exist or cannot be read.
    """
    try:
        import datasets
    except ImportError:
        raise InputError(
            "`--from hf` needs the package `datasets`; install it with"
            " `pip install 'kinesweep[hub-data]'`"
        ) from None
    path = Path(name)
    if revision is not None and path.exists():
        raise InputError(
            f"`--revision` applies to data sets on the Hub, but `{name}` is a local path; leave it"
            " out"
        )
    try:
        # `load_dataset` refuses folders that `save_to_disk` wrote.
        if any((path / file).is_file() for file in _SAVED_DATASET_FILES):
            loaded = datasets.load_from_disk(name)
        elif path.is_file():
            loaded = _stream_dataset("parquet", data_files=name)
        elif path.exists():
            loaded = _stream_dataset(name, name=config)
        else:
            revision = _find_commit(name, revision)
            loaded = _stream_dataset(name, name=config, revision=revision)
        splits = dict(loaded) if isinstance(loaded, dict) else {"train": loaded}
        splits = {split: _prepare_split(rows) for split, rows in splits.items()}
    except (OSError, ValueError, RuntimeError) as error:
        text = format_one_line(error)
        raise InputError(
            f"the data set `{name}` cannot be opened: {text}; it must be a name on the Hub, a"
            " folder that `save_to_disk` wrote, or Parquet files; `--config` names a subset"
        ) from None
    except IndexError:
        # `datasets` 5.2 writes a split without rows, but cannot read it.
        raise InputError(
            f"the data set `{name}` cannot be opened: it was saved with a split that has no rows;"
            " save it without this split"
        ) from None
    files: Path | HubFiles
    if path.exists():
        files = path if path.is_dir() else path.parent
        # Sizes and times instead of hashes, which would read every video.
        stamp = [str(path.resolve()), config, _list_files(path)]
    else:
        files = HubFiles(name, revision or "main")
        stamp = [name, config, revision]
    return OpenedDataset(name, splits, files, compute_fingerprint(stamp))


def _stream_dataset(path: str, **settings: Any) -> Any:
    """Open a data set for streaming, without keeping what was read of a Parquet file in memory.

    Args:
        path: Name, folder or format.
        settings: Other arguments of `datasets.load_dataset`.
    """
    import datasets
    from pyarrow.dataset import ParquetFragmentScanOptions

    # Arrow's read-ahead keeps all bytes of a file until its end: 3 GB for a file of 3 GB.
    options = ParquetFragmentScanOptions(pre_buffer=False)
    try:
        return datasets.load_dataset(
            path, streaming=True, fragment_scan_options=options, **settings
        )
    except (ValueError, TypeError) as error:
        # With an option, the library does not see that the name of a subset is missing.
        if "fragment_scan_options" not in str(error) and "data_files=None" not in str(error):
            raise
        # The files are in another format, such as videos or JSON.
        return datasets.load_dataset(path, streaming=True, **settings)


def _prepare_split(rows: Any) -> Any:
    """Return a split whose columns are known and whose media columns are not decoded.

    Raises:
        ValueError: If it has no rows.
    """
    # A stream of JSON, for example, has no columns before its first row is read.
    if rows.features is None:
        rows = rows._resolve_features()
    if not rows.features:
        raise ValueError("it has no columns")
    for name, feature in rows.features.items():
        if getattr(feature, "decode", False):
            rows = rows.cast_column(name, replace(feature, decode=False))
    return rows


def _find_commit(name: str, revision: str | None) -> str | None:
    """Return the commit of a data set on the Hub, so that a later call reads the same rows.

    Raises:
        OSError: If there is no such data set, or the Hub cannot be reached.
        ValueError: If the name cannot be one of a data set.
    """
    from huggingface_hub import HfApi

    try:
        commit: str | None = HfApi().dataset_info(name, revision=revision).sha
    except (OSError, ValueError):
        raise
    # The errors of the HTTP library derive from none of these two classes.
    except Exception as error:
        raise ConnectionError(f"the Hub cannot be reached: {error}") from error
    return commit


def _list_files(path: Path) -> list[tuple[str, int, int]]:
    """List the files of a local data set with their sizes and times of change."""
    files = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
    stats = [(file, file.stat()) for file in files if file.is_file()]
    return [(str(file.relative_to(path)), stat.st_size, stat.st_mtime_ns) for file, stat in stats]
