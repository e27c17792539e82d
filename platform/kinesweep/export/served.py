"""A bundle as MLflow's `python_function`: `mlflow models serve -m BUNDLE` answers over HTTP.

A row is either a file's bytes (base64 in JSON), `pose` or `video` by what the model was trained on,
or `features`, frames × numbers as `Bundle.features` gives them; a model of several streams takes a
file of them (`shard`), or `features_{stream}` of each. A model that compares motions takes the
bytes of the other as `reference`; without them it compares a motion with itself, which it warns of
once, for the answer then says nothing of a difference. The answer is a row `text`. The bundle
itself is the MLflow model: `MLmodel` in it names this module as the loader.
"""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kinesweep.core.errors import InputError
from kinesweep.export.raw import REFERENCE, columns_of, file_of_raw
from kinesweep.export.translate import Bundle, Streams
from kinesweep.training.determinism import pin_process

_LOG = logging.getLogger(__name__)
Frames = NDArray[np.floating]


def _load_pyfunc(path: str) -> "Served":
    """Called by MLflow with the bundle's folder."""
    bundle = Bundle.load(Path(path))
    pin_process(bundle.loaded.recipe)
    return Served(bundle)


class Served:
    """Answers rows; see the module."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._warned = False

    def predict(
        self, model_input: Any, params: Mapping[str, Any] | None = None
    ) -> list[dict[str, str]]:
        """The text of each row of a data frame.

        Raises:
            InputError: a row has neither or both of a file and `features`, features of another
                width, or a `reference` that is not beside a file or that nothing is compared with.
            ClipError: a file cannot be used.
        """
        rows = model_input.to_dict(orient="records")
        clips = [self._features(row, number) for number, row in enumerate(rows)]
        return [{"text": text} for text in self._bundle.decode(clips)]

    def _features(self, row: Mapping[str, Any], number: int) -> Streams:
        # What a row leaves out is NaN in a data frame, or None.
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
        raise InputError(f"row {number}: give one of `{name}` (bytes) and {all_columns}")

    def _from_files(self, content: bytes, beside: Any, suffix: str, number: int) -> Streams:
        with tempfile.TemporaryDirectory() as folder:
            file, other = Path(folder, f"clip{suffix}"), Path(folder, f"{REFERENCE}{suffix}")
            file.write_bytes(content)
            if not isinstance(beside, bytes):
                self._warn_once(number)
                return self._bundle.features(file)
            if not self._bundle.compares:
                raise InputError(f"row {number}: this model compares with no `{REFERENCE}`")
            other.write_bytes(beside)
            return self._bundle.features(file, beside=other)

    def _warn_once(self, number: int) -> None:
        """Says that a motion is compared with itself."""
        if self._bundle.compares and not self._warned:
            self._warned = True
            _LOG.warning(
                "row %d has no `%s`, so its motion is compared with itself, and so is that of each"
                " such row from here on; send the bytes of the motion that it is compared with",
                number,
                REFERENCE,
            )

    def _checked(self, x_TD: Frames, stream: str, number: int) -> Frames:
        known = self._bundle.loaded.features["streams"]
        width, column = known[stream]["width"], columns_of(known)[stream]
        if x_TD.ndim != 2 or x_TD.shape[1] != width or not np.isfinite(x_TD).all():
            raise InputError(
                f"row {number}: `{column}` must be frames × {width} finite numbers, but has the"
                f" shape {x_TD.shape}"
            )
        return x_TD
