"""Preparation of corpora that contain their media: TensorFlow Datasets and Hugging Face.

`sign-language-datasets` needs TensorFlow, which has an environment of its own below the state
folder: about 2.5 GB, created once. The library `datasets` runs in this process.
"""

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kinesweep.features.estimators.virtualenv import get_environment_python
from kinesweep.pipelines.progress import ProgressCallback, show_progress_bar
from kinesweep.sources.prepare.hub.dataset_columns import choose_columns
from kinesweep.sources.prepare.hub.hub_preparation import HubSettings, prepare_hub_dataset
from kinesweep.sources.prepare.hub.opened_dataset import open_dataset
from kinesweep.sources.prepare.media.media_settings import lock_corpus
from kinesweep.sources.prepare.media.prompts import Prompts
from kinesweep.sources.prepare.preparation_result import PreparationResult
from kinesweep.sources.prepare.tfds.tfds_corpora import PACKAGE_VERSION
from kinesweep.sources.prepare.tfds.tfds_preparation import prepare_tfds_corpus
from kinesweep.sources.prepare.tfds.tfds_request import TfdsSettings, find_tfds_corpus
from kinesweep.sources.prepare.tfds.worker_process import WorkerEnvironment

logger = logging.getLogger(__name__)

TFDS_REQUIREMENTS = (
    f"sign-language-datasets=={PACKAGE_VERSION}",
    "tensorflow==2.21.0",
    "tensorflow-datasets==4.9.10",
    "numpy==2.4.6",
    "protobuf==7.36.2",
    "importlib_resources==7.1.0",  # TensorFlow Datasets 4.9.10 imports it, but does not require it
)
"""Packages of the environment of TensorFlow Datasets, as tested together."""

_ROWS_PER_LINE = 1000
"""Number of rows of a stream of unknown length between two lines of progress."""


def prepare_from_tfds(
    name: str,
    out: Path,
    settings: TfdsSettings,
    *,
    prompts: Prompts = Prompts(),
    python: Path | None = None,
    overwrite: bool = False,
) -> PreparationResult:
    """Prepare a corpus of `sign-language-datasets`; log and show the progress.

    Args:
        name: Name of the corpus, such as `phoenix`, or of its builder.
        out: Folder for the media files and the tables.
        settings: Settings of the media files and of the builder.
        prompts: Language tags that replace those of the corpus.
        python: Interpreter of an environment with `sign-language-datasets`; None for one that is
            created by pip.
        overwrite: Whether to replace tables, and media files that were written with other settings.

    Raises:
        InputError: If there is no such corpus, the settings do not suit it or the folder, the data
            set cannot be prepared, or no row becomes a clip.
        ResourceError: If the environment cannot be created, or the process crashes.
    """
    corpus = find_tfds_corpus(name)
    if python is None:
        logger.info(
            "looking for the environment of TensorFlow Datasets; the first time, it is made"
        )
        requirements = (*TFDS_REQUIREMENTS, *corpus.requirements)
        requirements += corpus.video_requirements if settings.media == "videos" else ()
        environment = WorkerEnvironment(get_environment_python("tfds", requirements))
    else:
        # An environment of the user: its `PYTHONPATH` may be what makes the package available.
        environment = WorkerEnvironment(python, keeps_path=True)
    with lock_corpus(out), _WorkerProgress(out) as progress:
        return prepare_tfds_corpus(
            corpus,
            settings,
            out,
            environment=environment,
            prompts=prompts,
            overwrite=overwrite,
            report=progress.report,
        )


class _WorkerProgress:
    """The progress of the process with TensorFlow Datasets: log lines, and a bar per split.

    Args:
        out: Folder of the corpus, which the log of the process is in.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._stack = ExitStack()
        self._update: ProgressCallback | None = None
        self._num_done = self._size = 0

    def __enter__(self) -> "_WorkerProgress":
        """Return this object; bars are shown when events arrive."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        self._stack.close()

    def report(self, event: dict[str, Any]) -> None:
        """Show an event of the process."""
        match event["event"]:
            case "builder":
                logger.info(
                    f"downloading into {event['folder']} what is not there yet; the output is in"
                    f" {self._out}/rows/worker.log"
                )
            case "split":
                self._stack.close()
                self._num_done, self._size = event["kept"], event["size"]
                if event["lost"]:
                    logger.info(f"{event['split']}: {event['lost']} damaged rows are written again")
                self._update = self._stack.enter_context(show_progress_bar(event["split"]))
            case "row":
                assert self._update is not None
                self._num_done = min(self._num_done + (not event["kept"]), self._size)
                self._update(self._num_done, self._size)


def prepare_from_hub(
    name: str,
    out: Path,
    settings: HubSettings,
    *,
    prompts: Prompts = Prompts(),
    overwrite: bool = False,
) -> PreparationResult:
    """Prepare a data set of Hugging Face; log the columns that are used and show the progress.

    Args:
        name: Name on the Hub, a folder that `save_to_disk` wrote, or Parquet files.
        out: Folder for the media files and the tables.
        settings: Subset and columns to use, and settings of the media files.
        prompts: Language tags that replace those of the rows.
        overwrite: Whether to replace tables, and media files that were written with other settings.

    Raises:
        InputError: If the data set or a column does not exist, the folder contains other files, the
            data cannot be read, or no row becomes a clip.
    """
    dataset = open_dataset(name, settings.config, settings.revision)
    chosen = choose_columns(dataset.features, settings.columns, settings.media)
    logger.info(chosen.describe())
    with lock_corpus(out), ExitStack() as stack:
        bars: dict[str, ProgressCallback] = {}

        def report(split: str, num_done: int, size: int | None) -> None:
            if size is None:  # a stream does not tell its length
                if num_done % _ROWS_PER_LINE == 0:
                    logger.info(f"{split}: {num_done} rows")
                return
            if split not in bars:
                stack.close()
                # Opened with the first row, because the size is not known before.
                bars[split] = stack.enter_context(show_progress_bar(split))
            bars[split](num_done, size)

        return prepare_hub_dataset(
            dataset, chosen, settings, out, prompts=prompts, overwrite=overwrite, report=report
        )
