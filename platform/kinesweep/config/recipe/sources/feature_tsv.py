"""Recipe section `source` for feature files that are listed in one tab-separated file per split."""

from typing import Literal

from pydantic import Field

from kinesweep.config.corpus import CorpusConfig


class FeatureTsvConfig(CorpusConfig):
    """A corpus of feature files (`.npy`, `.npz`, `.pt`), named in one tab-separated file a split.

    These are the features-to-text tables of MultimodalHugs, whose `temporal_dimension_position` is
    `time_axis` here.
    """

    kind: Literal["feature_tsv"] = Field(description="Format of the corpus.")
    root: str | None = Field(
        None,
        description="Folder that the paths of feature files are relative to; default: the folder of"
        " each TSV.",
    )
    fps: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="Features per second, which the files do not state. It places spans in"
        " milliseconds or seconds.",
    )
    time_axis: int = Field(
        0,
        ge=0,
        le=3,
        description="Axis of the stored array that is time: 0 for (T, D), 1 for (D, T) or"
        " (1, T, D). All other axes are flattened into the features of a moment, in their order.",
    )
    time_unit: Literal["ms", "s", "frames"] = Field(
        "ms",
        description="Time unit of the columns with start and end: `ms`, `s` (seconds) or `frames`"
        " (numbers of feature vectors).",
    )
    ignore_columns: tuple[str, ...] = Field(
        (), description="Unknown columns that the TSVs may contain; they are ignored."
    )
