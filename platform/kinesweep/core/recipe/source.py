"""Recipe part `source` and `features`: which corpus, and what is computed from it."""

from typing import Literal

from pydantic import Field, model_validator

from kinesweep.core.clip import SPLITS
from kinesweep.core.config import Frozen


class PoseTsvConfig(Frozen):
    """A corpus of `.pose` files listed in one tab-separated file a split."""

    kind: Literal["pose_tsv"] = Field("pose_tsv", description="Format of the corpus.")
    train: str | None = Field(None, description="TSV of the training split.")
    validation: str | None = Field(None, description="TSV of the validation split.")
    test: str | None = Field(None, description="TSV of the test split.")
    root: str | None = Field(
        None,
        description="Folder that media paths are relative to; default: the folder of each TSV."
        " `{estimator}` in it stands for `features.estimator`.",
    )
    videos: str | None = Field(
        None,
        description="Folder of the videos, or of folders of pictures, that media paths name; their"
        " poses are estimated into `root` before they are extracted.",
    )
    fps: float | None = Field(
        None, gt=0, description="Frames a second of folders of pictures below `videos`."
    )
    times: Literal["ms", "frames"] = Field(
        "ms", description="Unit of the columns of start and end."
    )
    person: int = Field(0, ge=0, description="Which person of a pose file is used.")
    ignore_columns: tuple[str, ...] = Field(
        (), description="Columns of the TSVs that may be there unused."
    )

    max_clips: int | None = Field(
        None, ge=1, description="Only the first clips of each split; for trying things out."
    )

    @model_validator(mode="after")
    def _some_split(self) -> "PoseTsvConfig":
        if not any(self.splits.values()):
            raise ValueError("names no split; give at least one of train, validation, test")
        return self

    @model_validator(mode="after")
    def _poses_have_a_place(self) -> "PoseTsvConfig":
        if self.videos is not None and self.root is None:
            raise ValueError("`videos` needs `root`, the folder that their poses are written to")
        return self

    @property
    def splits(self) -> dict[str, str]:
        """Split → TSV, for the splits that the corpus has."""
        return {name: path for name in SPLITS if (path := getattr(self, name))}


class PoseFeaturesConfig(Frozen):
    """Features of a pose: chosen points, normalised by the shoulders, flattened."""

    kind: Literal["pose"] = Field("pose", description="What is computed from a clip.")
    estimator: str | None = Field(
        None,
        pattern=r"^[\w.-]+$",
        description="Whose poses are read, where `source.root` has a folder for each.",
    )
    points: Literal["holistic_178", "all"] = Field(
        "holistic_178",
        description="`holistic_178`: 8 body, 128 face contour and 42 hand points of MediaPipe"
        " Holistic; `all`: every point of the file.",
    )
    hide_legs: bool = Field(True, description="Zero hips, knees, ankles, heels and toes.")
    normalize: Literal["shoulders", "none"] = Field(
        "shoulders", description="`shoulders`: one centre and one scale a clip, from the shoulders."
    )
    stride: int = Field(1, ge=1, description="Keep every n-th frame, after normalising.")


SourceConfig = PoseTsvConfig
FeaturesConfig = PoseFeaturesConfig
