"""Recipe parts `source` and `features` of skeletons: joints over time, and texts about them.

The corpus is a table a split; the motions lie in one `.npz` or in a file each. What a table's
columns mean is told by their names, or by `columns` where they are called otherwise.
"""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from kinesweep.core.config import Frozen, near_miss
from kinesweep.core.pickles import is_pickle, refusal
from kinesweep.core.recipe.alignment import AlignmentConfig
from kinesweep.core.recipe.corpus import CorpusConfig

MEANINGS = (
    *("id", "index", "motion", "start", "end", "reference"),
    *("signer", "document", "order", "gloss", "language"),
)
"""What columns may mean, beside texts."""
TEXTS = ("output", "text", "ref")
_TEXT = re.compile(r"output|(?:text|ref)\d*")


def is_text(meaning: str) -> bool:
    """Whether a column of this name holds texts: `output`, or `text`, `text1`, `ref2` and on."""
    return _TEXT.fullmatch(meaning) is not None


class SkeletonsConfig(CorpusConfig):
    """Skeletons over time, listed in one tab-separated file a split."""

    kind: Literal["skeletons"] = Field(description="Format of the corpus.")
    motions: str | None = Field(
        None,
        min_length=1,
        description="One `.npz` of all motions (`data` and `offsets`), or a folder of `.npy`,"
        " `.npz` and `.pose` files; default: the `.npz` that is called like the table and lies"
        " beside it, or the table's folder where it has a column `motion`.",
    )
    skeleton: Literal[
        "smpl_22",
        "smpl_24",
        "coco_17",
        "coco_wholebody_133",
        "holistic_33",
        "holistic_hands",
        "holistic_178",
    ] = Field("smpl_22", description="Points of the arrays; `.pose` files name their own.")
    fps: float = Field(
        gt=0, description="Frames a second of the arrays; `.pose` files tell theirs."
    )
    columns: dict[str, str] = Field(
        {}, description="Meaning → column of the tables, where it is called otherwise."
    )
    signer_pattern: str | None = Field(
        None,
        description="Regular expression whose first group, found in a clip's id, is the signer.",
    )
    ignore_columns: tuple[str, ...] = Field(
        (), description="Columns of the tables that may be there unused."
    )

    @field_validator("motions")
    @classmethod
    def _no_pickles(cls, motions: str | None) -> str | None:
        if motions is not None and is_pickle(motions):
            raise ValueError(f"`{motions}` {refusal(motions)}")
        return motions

    @field_validator("signer_pattern")
    @classmethod
    def _a_group(cls, pattern: str | None) -> str | None:
        try:
            groups = re.compile(pattern or "()").groups
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        if not groups:
            raise ValueError("needs a group in parentheses, which is the signer")
        return pattern

    @model_validator(mode="after")
    def _columns_mean_something(self) -> "SkeletonsConfig":
        for meaning in self.columns:
            if meaning not in MEANINGS and not is_text(meaning):
                known = [*MEANINGS, *TEXTS]
                hint = near_miss(meaning, known) or f"; there are {', '.join(known)}"
                raise ValueError(
                    f"`columns` says what `{meaning}` is called, which is unknown{hint}"
                )
        called = list(self.columns.values())
        if len(set(called)) < len(called) or set(called) & set(self.ignore_columns):
            raise ValueError("`columns` and `ignore_columns` name a column twice")
        return self


class SkeletonFeaturesConfig(Frozen):
    """Coordinates of a skeleton's points over time, placed and scaled."""

    kind: Literal["skeleton"] = Field(description="What is computed from a clip.")
    centre: Literal["first", "each", "none"] = Field(
        "first",
        description="Where the root joint is put at 0: in the `first` frame, so that steps stay, or"
        " in `each`.",
    )
    scale: Literal["bone", "none"] = Field(
        "none", description="`bone`: the mean length of a clip's bones is 1, whoever moves."
    )
    stride: int = Field(1, ge=1, description="Keep every n-th frame.")
    reference: AlignmentConfig | None = Field(
        None,
        description="Make a second stream, `reference`: the motion that a clip is compared with,"
        " frame for frame; a clip that names none is its own.",
    )
