"""A bundle as an MLflow `python_function` model: `mlflow models serve -m BUNDLE` serves it by HTTP.

A row contains either the bytes of a file (base64 in JSON), in the column `pose` or `video`,
depending on the training data, or a text to translate in the column `source_text`, or `features`,
frames × numbers as returned by
`Bundle.compute_features`. A model with several streams takes a file with all of them (`shard`) or
one column `features_{stream}` each; a model with several parts of features takes the bytes of a
file for each, in a column with the name of the stream. A model that compares motions takes the
bytes of the reference motion as `reference`. Without it a motion is compared with itself, so the
text cannot describe a difference; a warning is logged once. The response is a row with the column
`text`. The bundle itself is the MLflow model: its `MLmodel` file names this module as the loader.

Shapes: T frames, D width.
"""

import logging
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.core.system.devices import select_device
from kinesweep.export.bundle import read_bundle_recipe
from kinesweep.export.input_translation import StreamFeatures
from kinesweep.export.part_inputs import warn_absent_streams
from kinesweep.export.raw_inputs import (
    REFERENCE_COLUMN,
    Input,
    get_feature_columns,
    get_file_column_and_suffix,
)
from kinesweep.export.translate import Bundle
from kinesweep.training.reproducibility.determinism import configure_determinism

_LOG = logging.getLogger(__name__)
FeatureArray = NDArray[np.floating]


def _load_pyfunc(path: str) -> "BundleModel":
    """Load a bundle as an MLflow model, and configure this process as for a run of its recipe.

    The process gets the recipe's seeds, threads and deterministic kernels. The model is loaded on
    a GPU if the recipe was trained on one and this machine has one; otherwise on the CPU. MLflow
    calls this function by its name, with the path of the bundle's folder.

    Raises:
        BundleError: If the folder is not a bundle or is damaged, or if this version computes its
            features differently.
    """
    recipe = read_bundle_recipe(Path(path))
    # Before the model is loaded: cuBLAS reads its setting when CUDA starts. The precision of
    # training does not matter, because texts are always decoded in float32.
    gpus = recipe.resources.gpus if select_device().type == "cuda" else 0
    device = configure_determinism(recipe.training.seed, recipe.resources.cpus, gpus)
    return BundleModel(Bundle.load(Path(path), device, skip_file_check=True))


class BundleModel:
    """An MLflow model that translates rows of a data frame, whose columns the module describes.

    Args:
        bundle: Loaded bundle.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._has_warned = False

    def predict(
        self, model_input: Any, params: Mapping[str, Any] | None = None
    ) -> list[dict[str, str]]:
        """Translate each row of a data frame and return the texts as rows.

        Args:
            model_input: Data frame with the columns of the model's signature.
            params: Inference parameters of MLflow; they are ignored.

        Returns:
            A row with the column `text` for each input row, in the same order.

        Raises:
            InputError: If a row has neither or both of a file and features, if features have
                another width, or if a `reference` comes without a file or the model compares
                nothing.
            ClipError: If a file cannot be used.
            BundleError: If the points of a file differ from those of the training data.
        """
        rows = model_input.to_dict(orient="records")
        features = [self._get_row_features(row, index) for index, row in enumerate(rows)]
        return [{"text": text} for text in self._bundle.translate_features(features)]

    def _get_row_features(self, row: Mapping[str, Any], row_index: int) -> StreamFeatures:
        """Return the features of a row, which come from its file or from its numbers.

        Args:
            row: Column → value.
            row_index: Index of the row, for messages.

        Raises:
            InputError: If the row has neither or both of a file and features, or one of them is
                unsuitable.
            ClipError: If the file cannot be used.
            BundleError: If the points of the file differ from those of the training data.
        """
        loaded, parts = self._bundle.loaded, self._bundle.parts
        if any(not isinstance(row.get(stream), float | None) for stream in parts):
            return self._compute_part_features(row, row_index)
        file_column, suffix = get_file_column_and_suffix(loaded.recipe.corpora[0])
        feature_columns = get_feature_columns(loaded.features["streams"])
        # A missing value is NaN (a float) in a data frame, or None.
        frames_by_stream = {
            stream: [list(frame) for frame in row[column]]
            for stream, column in feature_columns.items()
            if not isinstance(row.get(column), float | None)
        }
        content, reference = row.get(file_column), row.get(REFERENCE_COLUMN)
        if isinstance(content, str):  # a text to translate; files are bytes
            content = f"{content}\n".encode()
        if isinstance(content, bytes) and not frames_by_stream:
            return self._compute_file_features(content, reference, suffix, row_index)
        has_file = isinstance(content, bytes) or isinstance(reference, bytes)
        if not has_file and len(frames_by_stream) == len(feature_columns):
            features = {
                stream: np.asarray(frames, self._get_input_dtype(stream))
                for stream, frames in frames_by_stream.items()
            }
            for stream, x_TD in features.items():
                self._check_row_features(x_TD, stream, row_index)
            return features
        columns_text = " with ".join(f"`{column}`" for column in feature_columns.values())
        files_text = ", ".join(f"`{stream}`" for stream in parts) or f"`{file_column}`"
        raise InputError(f"row {row_index}: give either {files_text} (bytes) or {columns_text}")

    def _compute_part_features(self, row: Mapping[str, Any], row_index: int) -> StreamFeatures:
        """Compute features from the bytes of a file for each stream; other streams are absent.

        Args:
            row: Column → value; the columns have the names of the streams.
            row_index: Index of the row, for messages.

        Raises:
            InputError: If a value is not the bytes of a file.
            ClipError: If a file cannot be used.
            BundleError: If the points of a file differ from those of the training data.
        """
        with tempfile.TemporaryDirectory() as temp_dir:
            files: dict[str, Path] = {}
            for stream, part in self._bundle.parts.items():
                content = row.get(stream)
                if isinstance(content, float | None):
                    continue
                if not isinstance(content, bytes):
                    raise InputError(
                        f"row {row_index}: `{stream}` must be the bytes of a file, but is of type"
                        f" {type(content).__name__}; leave it out if the clip has none"
                    )
                suffix = get_file_column_and_suffix(part.source)[1]
                files[stream] = Path(temp_dir, f"{stream}{suffix}")
                files[stream].write_bytes(content)
            missing = Counter(stream for stream in self._bundle.parts if stream not in files)
            warn_absent_streams(missing, 1)
            streams = {stream: Input(file) for stream, file in files.items()}
            # The file only names the clip in messages; each stream has its own.
            item = Input(next(iter(files.values())), streams=streams)
            return self._bundle.compute_feature_arrays(item)

    def _get_input_dtype(self, stream: str) -> Any:
        """Return the dtype of a stream's features: whole numbers for token ids and pixels."""
        dtype = np.dtype(self._bundle.loaded.features["streams"][stream]["dtype"])
        return dtype if dtype.kind in "ui" else np.float32

    def _compute_file_features(
        self, content: bytes, reference: Any, suffix: str, row_index: int
    ) -> StreamFeatures:
        """Compute features from the bytes of a file and, if present, of a reference motion.

        Args:
            content: Bytes of the file.
            reference: Bytes of the reference motion; any other value stands for a missing one.
            suffix: Suffix of both files.
            row_index: Index of the row, for messages.

        Raises:
            InputError: If there is a reference motion, but the model compares nothing; if the
                motions have different points; or if the model needs poses beside a video.
            ClipError: If a file cannot be used.
            BundleError: If the points of a file differ from those of the training data.
        """
        # Readers of poses and videos need paths.
        with tempfile.TemporaryDirectory() as temp_dir:
            file = Path(temp_dir, f"clip{suffix}")
            file.write_bytes(content)
            if not isinstance(reference, bytes):
                self._warn_missing_reference_once(row_index)
                return self._bundle.compute_features(file)
            if not self._bundle.uses_reference_motion:
                raise InputError(
                    f"row {row_index}: this model does not use a `{REFERENCE_COLUMN}`; leave it out"
                )
            reference_path = Path(temp_dir, f"{REFERENCE_COLUMN}{suffix}")
            reference_path.write_bytes(reference)
            return self._bundle.compute_features(file, auxiliary_file=reference_path)

    def _warn_missing_reference_once(self, row_index: int) -> None:
        """Log a warning if a motion is compared with itself, but only for the first such row.

        Args:
            row_index: Index of a row without a reference motion, for the message.
        """
        if self._bundle.uses_reference_motion and not self._has_warned:
            self._has_warned = True
            _LOG.warning(
                "row %d has no `%s`, so its motion is compared with itself; this also applies to"
                " later rows without it, for which there is no further warning. Send the bytes of"
                " the motion to compare with",
                row_index,
                REFERENCE_COLUMN,
            )

    def _check_row_features(self, x_TD: FeatureArray, stream: str, row_index: int) -> None:
        """Check that features sent as numbers have the right shape and are finite.

        Args:
            x_TD: Features of a row, which should have the shape (T, D).
            stream: Name of the feature stream.
            row_index: Index of the row, for the message.

        Raises:
            InputError: If the features have another shape or are not finite.
        """
        stream_schemas = self._bundle.loaded.features["streams"]
        width, column = stream_schemas[stream]["width"], get_feature_columns(stream_schemas)[stream]
        if x_TD.ndim != 2 or x_TD.shape[1] != width or not np.isfinite(x_TD).all():
            raise InputError(
                f"row {row_index}: `{column}` must be frames × {width} finite numbers, but has the"
                f" shape {x_TD.shape}"
            )
