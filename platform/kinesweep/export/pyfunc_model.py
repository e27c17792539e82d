"""A bundle as an MLflow `python_function` model: `mlflow models serve -m BUNDLE` serves it by HTTP.

A row contains either the bytes of a file (base64 in JSON), in the column `pose` or `video`,
depending on the training data, or `features`, frames × numbers as returned by `Bundle.features`. A
model with several streams takes a file with all of them (`shard`) or one column `features_{stream}`
each. A model that compares motions takes the bytes of the other motion as `reference`. Without it a
motion is compared with itself, so the text cannot describe a difference; a warning is logged once.
The answer is a row with the column `text`. The bundle itself is the MLflow model: its `MLmodel`
file names this module as the loader.
"""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.export.raw_inputs import REFERENCE, columns_of, file_of_raw
from kinesweep.export.translate import Bundle, Streams
from kinesweep.training.reproducibility.determinism import pin_process

_LOG = logging.getLogger(__name__)
Frames = NDArray[np.floating]


def _load_pyfunc(path: str) -> "BundleModel":
    """Load a bundle; MLflow calls this function with the path of the folder."""
    bundle = Bundle.load(Path(path))
    pin_process(bundle.loaded.recipe)
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
        clips = [self._features(row, number) for number, row in enumerate(rows)]
        return [{"text": text} for text in self._bundle.decode(clips)]

    def _features(self, row: Mapping[str, Any], number: int) -> Streams:
        """Return the features of a row, computed from a file or given as numbers."""
        # A missing value is NaN (a float) in a data frame, or None.
        name, suffix = file_of_raw(self._bundle.loaded.recipe)
        content, columns = row.get(name), columns_of(self._bundle.loaded.features["streams"])
        given = {
            stream: [list(frame) for frame in row[column]]
            for stream, column in columns.items()
            if not isinstance(row.get(column), float | None)
        }
        beside = row.get(REFERENCE)
        if isinstance(content, bytes) and not given:
            return self._from_files(content, beside, suffix, number)
        sent = [one for one in (content, beside) if isinstance(one, bytes)]
        if not sent and len(given) == len(columns):
            return {
                stream: self._checked(np.asarray(frames, np.float32), stream, number)
                for stream, frames in given.items()
            }
        all_columns = " with ".join(f"`{column}`" for column in columns.values())
        raise InputError(f"row {number}: give either `{name}` (bytes) or {all_columns}")

    def _from_files(self, content: bytes, beside: Any, suffix: str, number: int) -> Streams:
        """Compute features from the bytes of a file and optionally of a reference."""
        # Readers of poses and videos need paths.
        with tempfile.TemporaryDirectory() as folder:
            file, other = Path(folder, f"clip{suffix}"), Path(folder, f"{REFERENCE}{suffix}")
            file.write_bytes(content)
            if not isinstance(beside, bytes):
                self._warn_once(number)
                return self._bundle.features(file)
            if not self._bundle.compares:
                raise InputError(
                    f"row {number}: this model does not use a `{REFERENCE}`; leave it out"
                )
            other.write_bytes(beside)
            return self._bundle.features(file, beside=other)

    def _warn_once(self, number: int) -> None:
        """Log a warning at the first motion that is compared with itself."""
        if self._bundle.compares and not self._warned:
            self._warned = True
            _LOG.warning(
                "row %d has no `%s`, so its motion is compared with itself; this also applies to"
                " later rows without it, for which there is no further warning. Send the bytes of"
                " the motion to compare with",
                number,
                REFERENCE,
            )

    def _checked(self, x_TD: Frames, stream: str, number: int) -> Frames:
        """Check the shape of features that were sent as numbers, and that they are finite."""
        known = self._bundle.loaded.features["streams"]
        width, column = known[stream]["width"], columns_of(known)[stream]
        if x_TD.ndim != 2 or x_TD.shape[1] != width or not np.isfinite(x_TD).all():
            raise InputError(
                f"row {number}: `{column}` must be frames × {width} finite numbers, but has the"
                f" shape {x_TD.shape}"
            )
        return x_TD
