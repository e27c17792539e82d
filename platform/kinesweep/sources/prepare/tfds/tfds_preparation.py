"""Preparation of a corpus of `sign-language-datasets`: media files first, then the tables.

The process with TensorFlow Datasets writes a `.pose` file for each clip and the values of each row.
Here the rows become tables. A corpus whose builder has a single split gets one table, with a
warning that names the command that makes others.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinesweep.core.clip import SPLITS
from kinesweep.core.errors import InputError
from kinesweep.sources.prepare.corpus_tables import check_no_tables, write_corpus_tables
from kinesweep.sources.prepare.media.media_settings import JOURNAL_FOLDER, write_media_settings
from kinesweep.sources.prepare.media.prompts import Prompts
from kinesweep.sources.prepare.media.row_journal import read_rows
from kinesweep.sources.prepare.media.split_names import add_split_warnings
from kinesweep.sources.prepare.preparation_result import (
    SOURCE_KIND_BY_MEDIA,
    PreparationResult,
)
from kinesweep.sources.prepare.tfds.annotation_rows import build_annotations
from kinesweep.sources.prepare.tfds.tfds_corpora import TfdsCorpus
from kinesweep.sources.prepare.tfds.tfds_request import (
    TfdsSettings,
    build_request,
    get_media_settings,
)
from kinesweep.sources.prepare.tfds.worker_process import (
    LOG_NAME,
    WorkerEnvironment,
    run_worker,
)


def prepare_tfds_corpus(
    corpus: TfdsCorpus,
    settings: TfdsSettings,
    out: Path,
    *,
    environment: WorkerEnvironment,
    prompts: Prompts,
    overwrite: bool,
    report: Callable[[dict[str, Any]], None],
) -> PreparationResult:
    """Write the media files and the tables of a corpus into a folder.

    Files that an earlier, interrupted call wrote are verified and kept.

    Args:
        corpus: Corpus to write.
        settings: Settings of the media files and of the builder.
        out: Folder of the corpus; media paths in the tables are relative to it.
        environment: Environment with `sign-language-datasets`.
        prompts: Language tags that replace those of the corpus.
        overwrite: Whether to replace tables, and media files that were written with other settings.
        report: Function that is called with each event of the process.

    Raises:
        InputError: If the settings do not suit the corpus or the folder, the data set cannot be
            prepared, or no row becomes a clip.
        ResourceError: If the process crashes.
    """
    corpus = _select_text(corpus, settings.text_field)
    request = build_request(corpus, settings, out)
    # Checked before the download, which may take hours.
    if not overwrite:
        check_no_tables(out)
    write_media_settings(get_media_settings(request), out, overwrite)
    journals = out / JOURNAL_FOLDER
    summary = run_worker(environment, request, journals / LOG_NAME, report)
    annotations = {
        split: build_annotations(
            corpus,
            # An earlier call with a higher limit may have left more rows.
            read_rows(journals / f"{split}.jsonl")[: summary.sizes[split]],
            split,
            prompts,
            settings.media,
        )
        for split in SPLITS
        if split in summary.sizes
    }
    add_split_warnings(annotations, summary.other_splits, out)
    result = write_corpus_tables(annotations, out, out)
    kind = SOURCE_KIND_BY_MEDIA[settings.media]
    return replace(result, rows=summary.sizes, kept=summary.kept, source_kind=kind)


def _select_text(corpus: TfdsCorpus, text_field: str | None) -> TfdsCorpus:
    """Return a corpus whose texts come from a chosen field.

    Raises:
        InputError: If the texts of the corpus have no fields of their own.
    """
    if text_field is None:
        return corpus
    if corpus.layout in ("subtitles", "views") or len(corpus.clips) > 1:
        raise InputError(
            f"`--text-column` cannot be used with `{corpus.builder}`, whose texts are in several"
            " fields or in lists; leave it out"
        )
    return replace(corpus, clips=(replace(corpus.clips[0], text=text_field),))
