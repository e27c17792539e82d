"""Recipe sections `source` and `features` of skeleton corpora: joints over time, with texts.

The settings that features of poses share with those of skeletons are here as well.

A corpus has one table per split; its motions are stored in a single `.npz` or in one file each. The
columns of a table are recognized by name; `columns` maps columns with other names.
"""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from kinesweep.config.corpus import CorpusConfig
from kinesweep.config.loading import StrictConfig
from kinesweep.config.recipe.alignment import AlignmentConfig
from kinesweep.config.recipe.sources.declared_skeletons import AnySkeleton
from kinesweep.config.recipe.sources.estimators import AnyJointEstimator
from kinesweep.config.recipe.sources.skeleton_meanings import KNOWN_MEANINGS, is_known_meaning
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.pickle_policy import format_pickle_error, is_pickle

ThirdCoordinate = Literal["z", "confidence", "none"]
"""Meaning of the third value of a point."""


class SkeletonsConfig(CorpusConfig):
    """A corpus of skeleton motions, listed in one tab-separated file per split."""

    kind: Literal["skeletons"] = Field(description="Format of the corpus.")
    motions: str | None = Field(
        None,
        min_length=1,
        description="One `.npz` with all motions (`data` and `offsets`), or a folder of `.npy`,"
        " `.npz`, `.pose` and `.bvh` files; default: the `.npz` next to the table with the same"
        " name, or the table's folder if the table has a column `motion`.",
    )
    skeleton: AnySkeleton = Field(
        "smpl_22",
        description="Points of arrays: the name of a skeleton, a skeleton declared in place"
        " (`points`, `bones`, `left_right`, `root`), or the path of a YAML file with these keys;"
        " `.pose` and `.bvh` files store their own.",
    )
    fps: float = Field(
        gt=0,
        description="Frame rate of arrays in frames per second; `.pose` and `.bvh` files store"
        " theirs.",
    )
    third: ThirdCoordinate = Field(
        "z",
        description="Meaning of the third of three values per point in arrays, which do not state"
        " it: `z`, the depth; `confidence`, where points with confidence 0 were not found; `none`:"
        " it is left out. `.pose` files state theirs.",
    )
    columns: dict[str, str] = Field(
        {}, description="Meaning → column name, for tables with other column names."
    )
    videos: str | None = Field(
        None,
        description="Folder of the videos, or folders of images, that the tables name; `estimator`"
        " writes their joints into `motions` before extraction, at the rate `fps`.",
    )
    estimator: AnyJointEstimator | None = Field(
        None, description="Estimator of the joints of videos, also of those to be translated."
    )
    person: int = Field(0, ge=0, description="Index of the person used from a pose file.")
    signer_pattern: str | None = Field(
        None,
        description="Regular expression whose first group matches the signer in a clip's id.",
    )
    ignore_columns: tuple[str, ...] = Field(
        (), description="Unknown columns that the tables may contain; they are ignored."
    )

    @field_validator("motions")
    @classmethod
    def _check_no_pickle(cls, motions: str | None) -> str | None:
        """Check that the file of motions is not a pickle, which could run code when it is read."""
        if motions is not None and is_pickle(motions):
            raise ValueError(f"`{motions}` {format_pickle_error(motions)}")
        return motions

    @model_validator(mode="after")
    def _check_videos(self) -> "SkeletonsConfig":
        """Check that videos have an estimator, and a folder for its joints."""
        if self.videos is None:
            return self
        if self.estimator is None:
            raise ValueError("`videos` needs `estimator`, which estimates their joints")
        if self.motions is None or self.motions.endswith(".npz"):
            raise ValueError(
                "`videos` needs `motions`, the folder that their joints are written to"
            )
        return self

    @field_validator("signer_pattern")
    @classmethod
    def _check_pattern(cls, pattern: str | None) -> str | None:
        """Check that the regular expression of the signer is valid and has a group."""
        try:
            # `()` stands in for a missing pattern, which has the one group that is required.
            num_groups = re.compile(pattern or "()").groups
        except re.error as error:
            raise ValueError(f"is not a valid regular expression: {error}") from None
        if not num_groups:
            raise ValueError("needs a group in parentheses that matches the signer")
        return pattern

    @model_validator(mode="after")
    def _check_columns(self) -> "SkeletonsConfig":
        """Check that `columns` has known meanings only, and that no column is named twice.

        Columns are named by `columns` and by `ignore_columns`.
        """
        for meaning in self.columns:
            if not is_known_meaning(meaning):
                hint = (
                    suggest_closest_word(meaning, KNOWN_MEANINGS)
                    or f"; known are {', '.join(KNOWN_MEANINGS)}"
                )
                raise ValueError(f"`columns` has the unknown meaning `{meaning}`{hint}")
        # A column with two meanings, or with one and ignored, is ambiguous.
        column_names = list(self.columns.values())
        if len(set(column_names)) < len(column_names) or set(column_names) & set(
            self.ignore_columns
        ):
            raise ValueError("`columns` and `ignore_columns` name a column twice")
        return self


class SavgolConfig(StrictConfig):
    """A Savitzky–Golay filter: a polynomial fitted to the frames around each frame."""

    kind: Literal["savgol"] = Field("savgol", description="Kind of filter.")
    window_s: float = Field(
        0.2,
        gt=0,
        le=5,
        description="Length of the window in seconds: a frame and all frames within half of it"
        " before and after.",
    )
    order: int = Field(2, ge=0, le=5, description="Order of the polynomial.")


class PointFeaturesConfig(StrictConfig):
    """Settings shared by features that are coordinates of points: time, gaps and jitter."""

    fps: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="Frame rate in frames per second that all files are resampled to, linear in"
        " time, before normalization; default: the rate of each file.",
    )
    missing: Literal["zero", "interpolate", "mask"] = Field(
        "zero",
        description="Points that were not detected: `zero` sets them to 0; `interpolate` fills them"
        " linearly in time, held at the ends, 0 if never detected; `mask` sets them to 0 and adds"
        " one value per point, after its coordinates: 1 if it was detected.",
    )
    smooth: SavgolConfig | None = Field(
        None,
        description="Filter against jitter, applied at the rate of the file over detected frames;"
        " default: none.",
    )
    stride: int = Field(1, ge=1, description="Keep every n-th frame, after normalization.")


class SkeletonFeaturesConfig(PointFeaturesConfig):
    """Coordinates of a skeleton's points over time, centered and scaled."""

    kind: Literal["skeleton"] = Field(description="Kind of features.")
    centre: Literal["first", "each", "none"] = Field(
        "first",
        description="Frames in which the root joint is moved to the origin: only the `first`, which"
        " preserves steps, or `each`.",
    )
    scale: Literal["bone", "none"] = Field(
        "none", description="`bone`: scale each clip to a mean bone length of 1."
    )
    reference: AlignmentConfig | None = Field(
        None,
        description="Add a second stream `reference`: the motion that a clip is compared with,"
        " aligned frame by frame. A clip without a reference is its own.",
    )
