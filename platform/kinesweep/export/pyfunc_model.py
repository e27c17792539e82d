"""A bundle as an MLflow `python_function` model: `mlflow models serve -m BUNDLE` serves it by HTTP.

A row contains either the bytes of a file (base64 in JSON), in the column `pose` or `video`,
depending on the training data, or `features`, frames × numbers as returned by
`Bundle.compute_features`. A model with several streams takes a file with all of them (`shard`) or
one column `features_{stream}` each. A model that compares motions takes the bytes of the other
motion as `reference`. Without it a motion is compared with itself, so the text cannot describe a
difference; a warning is logged once. The response is a row with the column `text`. The bundle
itself is the MLflow model: its `MLmodel` file names this module as the loader.
"""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.export.raw_inputs import REFERENCE_COLUMN, get_feature_columns, get_main_file_column
from kinesweep.export.translate import Bundle, StreamFeatures
from kinesweep.training.reproducibility.determinism import configure_process

_LOG = logging.getLogger(__name__)
FeatureArray = NDArray[np.floating]


def _load_pyfunc(path: str) -> "BundleModel":
    """Load a bundle; MLflow calls this function with the path of the folder."""
    bundle = Bundle.load(Path(path))
    configure_process(bundle.loaded.recipe)
    return BundleModel(bundle)


class BundleModel:
    """An MLflow model that translates rows of a data frame; see the module's docstring."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._warned = False

    def predict(
        self, model_input: Any, params: Mapping[str, Any] | None = None
    ) -> list[dict[str, str]]:
        """Translate each row of a data frame.

        Args:
            model_input: Data frame with the columns of the model's signature.
            params: Inference parameters of MLflow; they are ignored.

        Returns:
            A row with the column `text` for each input row.

        Raises:
            InputError: If a row has neither or both of a file and features, if features have
                another width, or if a `reference` comes without a file or the model compares
                nothing.
            ClipError: If a file cannot be used.
        """
        rows = model_input.to_dict(orient="records")
        clips = [self._get_row_features(row, number) for number, row in enumerate(rows)]
        return [{"text": text} for text in self._bundle.decode_features(clips)]

    def _get_row_features(self, row: Mapping[str, Any], number: int) -> StreamFeatures:
        """Get the features of a row: computed from its file, or given as numbers."""
        # A missing value is NaN (a float) in a data frame, or None.
        name, suffix = get_main_file_column(self._bundle.loaded.recipe)
        content, columns = (
            row.get(name),
            get_feature_columns(self._bundle.loaded.features["streams"]),
        )
        stream_values = {
            stream: [list(frame) for frame in row[column]]
            for stream, column in columns.items()
            if not isinstance(row.get(column), float | None)
        }
        reference = row.get(REFERENCE_COLUMN)
        if isinstance(content, bytes) and not stream_values:
            return self._compute_file_features(content, reference, suffix, number)
        sent_files = [
            file_content for file_content in (content, reference) if isinstance(file_content, bytes)
        ]
        if not sent_files and len(stream_values) == len(columns):
            return {
                stream: self._check_row_features(np.asarray(frames, np.float32), stream, number)
                for stream, frames in stream_values.items()
            }
        all_columns = " with ".join(f"`{column}`" for column in columns.values())
        raise InputError(f"row {number}: give either `{name}` (bytes) or {all_columns}")

    def _compute_file_features(
        self, content: bytes, reference: Any, suffix: str, number: int
    ) -> StreamFeatures:
        """Compute features from the bytes of a file and optionally of a reference."""
        # Readers of poses and videos need paths.
        with tempfile.TemporaryDirectory() as folder:
            file, reference_path = (
                Path(folder, f"clip{suffix}"),
                Path(folder, f"{REFERENCE_COLUMN}{suffix}"),
            )
            file.write_bytes(content)
            if not isinstance(reference, bytes):
                self._warn_missing_reference_once(number)
                return self._bundle.compute_features(file)
            if not self._bundle.uses_reference:
                raise InputError(
                    f"row {number}: this model does not use a `{REFERENCE_COLUMN}`; leave it out"
                )
            reference_path.write_bytes(reference)
            return self._bundle.compute_features(file, auxiliary_file=reference_path)

    def _warn_missing_reference_once(self, number: int) -> None:
        """Log a warning for the first row whose motion is compared with itself."""
        if self._bundle.uses_reference and not self._warned:
            self._warned = True
            _LOG.warning(
                "row %d has no `%s`, so its motion is compared with itself; this also applies to"
                " later rows without it, for which there is no further warning. Send the bytes of"
                " the motion to compare with",
                number,
                REFERENCE_COLUMN,
            )

    def _check_row_features(self, x_TD: FeatureArray, stream: str, number: int) -> FeatureArray:
        """Check that features sent as numbers have the right shape and are finite; return them."""
        stream_schemas = self._bundle.loaded.features["streams"]
        width, column = stream_schemas[stream]["width"], get_feature_columns(stream_schemas)[stream]
        if x_TD.ndim != 2 or x_TD.shape[1] != width or not np.isfinite(x_TD).all():
            raise InputError(
                f"row {number}: `{column}` must be frames × {width} finite numbers, but has the"
                f" shape {x_TD.shape}"
            )
        return x_TD
