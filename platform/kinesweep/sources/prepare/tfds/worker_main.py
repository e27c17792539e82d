"""Main program of the process that iterates a builder of TensorFlow Datasets and writes its files.

This file runs by itself in an environment with `sign-language-datasets`, where Kinesweep is not
installed, so it must not import anything from it. The request is one line of JSON on standard
input; events are JSON, one per line, on standard output. Anything that libraries print goes to
stderr. Complete rows are in the journals `rows/SPLIT.jsonl`, so a killed process loses one row.

Usage: python worker_main.py < REQUEST
"""

import functools
import importlib
import importlib.util
import itertools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO


def _import_from_file(name: str, file: Path) -> Any:
    """Import a module of Kinesweep from its file, because its package is not installed here."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_FOLDER = Path(__file__).parent
row_journal = _import_from_file("row_journal", _FOLDER.parent / "media" / "row_journal.py")
example_files = _import_from_file("example_files", _FOLDER / "example_files.py")

_PACKAGE = "sign_language_datasets.datasets"


def build_dataset(request: dict[str, Any]) -> Any:
    """Build the builder that a request names; its data are not prepared yet.

    Args:
        request: Dict with `builder`, `config_name`, `config` (attributes of its configuration),
            `builder_options` and `data_dir`.

    Raises:
        ImportError: If a package is missing.
        TypeError: If the configuration has no such attribute.
        ValueError: If an attribute has an invalid value.
    """
    # Imported here, so that a missing package is reported as an event.
    tfds = importlib.import_module("tensorflow_datasets")
    importlib.import_module(_PACKAGE)  # registers the builders
    builder_class = tfds.builder_cls(request["builder"])
    known = {config.name: config for config in builder_class.BUILDER_CONFIGS}
    config = known.get(request["config_name"])
    if config is None:
        # Builders have configuration classes of their own, with more attributes.
        config_class = type(builder_class.BUILDER_CONFIGS[0])
        config = config_class(name=request["config_name"], **request["config"])
    return builder_class(config=config, data_dir=request["data_dir"], **request["builder_options"])


def make_header_finder(builder: Any) -> Callable[[str], Any]:
    """Return a function that finds the header of a pose feature by its dotted name.

    The headers are those of the features. A feature without one has that of the builder's module.
    """

    def find_header(field: str) -> Any:
        feature: Any = builder.info.features
        for part in field.split("."):
            feature = feature[part]
        header = getattr(feature, "_header", None)
        paths = getattr(sys.modules[type(builder).__module__], "_POSE_HEADERS", {})
        pose_type = getattr(builder.builder_config, "include_pose", None)
        return _read_header(paths[pose_type]) if header is None and pose_type in paths else header

    return find_header


def _read_header(path: str) -> Any:
    """Read the header of a `.pose` file."""
    from pose_format import PoseHeader
    from pose_format.utils.reader import BufferReader

    return PoseHeader.read(BufferReader(Path(path).read_bytes()))


def read_annotations(corpus: str, row: dict[str, Any]) -> dict[str, Any]:
    """Read the sentences and signers of a document from the files that its row names.

    Args:
        corpus: Builder whose package has readers of its files, `dgs_corpus` or `ngt_corpus`.
        row: Values of the document, or of one of its sentences, with `paths`.

    Returns:
        Dict with `sentences`, unless the row is one, and `signers`, the names of the people by
        letter, if there is a file with them.
    """
    paths = row["paths"]
    if corpus == "ngt_corpus":
        module = importlib.import_module(f"{_PACKAGE}.ngt_corpus.ngt_corpus_utils")
        return {"sentences": list(module.get_elan_sentences_ngt_corpus(paths["eaf"]))}
    module = importlib.import_module(f"{_PACKAGE}.dgs_corpus.dgs_utils")
    signers = _read_signers(module, paths["ilex"]) if paths["ilex"] else {}
    if "sentence" in row:
        return {"signers": signers}
    return {"signers": signers, "sentences": list(module.get_elan_sentences(paths["eaf"]))}


@functools.cache
def _read_signers(module: Any, path: str) -> dict[str, str]:
    """Read the name of the only person in each view of a document, by letter.

    A document has many sentences, so its names are kept.
    """
    names_by_view = module.get_signer_ids_from_ilex(path)
    return {view: names[0] for view, names in names_by_view.items() if len(names) == 1}


class CorpusWriter:
    """A writer of the files and journals of all splits of a builder.

    Args:
        request: Request of the parent process.
        send: Function that sends an event to it.
    """

    def __init__(self, request: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> None:
        self._request = request
        self._send = send
        self._out = Path(request["out"])
        self._tfds = importlib.import_module("tensorflow_datasets")

    def write(self, builder: Any) -> None:
        """Write the files and journals of all known splits; send an event for each row."""
        sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
        known, limit = self._request["split_by_name"], self._request["limit"]
        others = {name: size for name, size in sizes.items() if name not in known}
        self._send({"event": "prepared", "other_splits": others})
        for name in sorted(sizes.keys() & known.keys()):
            size = sizes[name] if limit is None else min(sizes[name], limit)
            self._write_split(builder, name, size)
        self._send({"event": "done"})

    def _write_split(self, builder: Any, name: str, size: int) -> None:
        """Write the rows of a split that an earlier process did not complete.

        Args:
            builder: Prepared builder.
            name: Name of the split in the data set.
            size: Number of its rows to write, from the first.
        """
        split = self._request["split_by_name"][name]
        journal = row_journal.RowJournal(self._out / "rows" / f"{split}.jsonl", self._out)
        writer = example_files.ExampleWriter(
            self._out,
            split,
            find_header=make_header_finder(builder),
            path_fields=tuple(self._request["path_fields"]),
            write_file=row_journal.write_file,
            link_file=row_journal.link_file,
        )
        counts = {"kept": journal.num_kept, "lost": journal.num_lost}
        self._send({"event": "split", "split": split, "size": size, **counts})
        # The order of the files of a data set is fixed only without shuffling.
        examples = builder.as_dataset(split=name, shuffle_files=False)
        start = journal.count_leading_rows()
        rest = self._tfds.as_numpy(examples.skip(start)) if start < size else ()
        for index, example in zip(range(start, size), _take(rest, size - start), strict=False):
            kept = index in journal
            if not kept:
                self._write_row(journal, writer, index, example)
            self._send({"event": "row", "kept": kept})

    def _write_row(self, journal: Any, writer: Any, index: int, example: dict[str, Any]) -> None:
        """Write the files of an example and append its row to the journal."""
        clip_id = _get_id(example, index)
        name = journal.choose_name(clip_id, index)
        values, files = writer.write(example, name)
        # The paths of annotations are those of the example, which are not linked.
        annotations = self._request["annotations"]
        extra = read_annotations(annotations, values) if annotations else {}
        journal.append(index, name, {"id": clip_id, **values, **extra}, files)


def _take(examples: Any, count: int) -> Iterator[Any]:
    """Yield the first examples of an iterable."""
    return itertools.islice(iter(examples), count)


def _get_id(example: dict[str, Any], index: int) -> str:
    """Return the id of an example, or its position if it has none."""
    clip_id = example.get("id", index)
    return clip_id.decode() if isinstance(clip_id, bytes) else str(clip_id)


def main() -> None:
    """Read the request, prepare the data set and write its files."""
    # Keep the original stdout for events and redirect file descriptor 1 to stderr, so that the
    # output of native libraries cannot mix with the protocol.
    events: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(event: dict[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    request = json.loads(sys.stdin.readline())
    try:
        builder = build_dataset(request)
        send({"event": "builder", "folder": str(builder.data_dir)})
        builder.download_and_prepare()
        CorpusWriter(request, send).write(builder)
    except Exception as error:  # any error of the libraries is reported to the parent process
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        send({"event": "failed", "message": " ".join(message.split())[:1000]})
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
