"""Recipe section `source`: settings shared by all kinds of corpora, with one table per split."""

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.core.clip import SPLITS


class CorpusConfig(StrictConfig):
    """Settings shared by all corpora, with one table per split."""

    train: str | None = Field(None, description="Table of the training split.")
    validation: str | None = Field(None, description="Table of the validation split.")
    test: str | None = Field(None, description="Table of the test split.")
    max_clips: int | None = Field(
        None, ge=1, description="Use only the first clips of each split, for quick trials."
    )
    name: str | None = Field(
        None, pattern=r"^[\w.-]+$", description="Name of the corpus in a list of corpora."
    )
    sampling_weight: float = Field(
        1.0,
        gt=0,
        description="Sampling weight in a list of corpora: the number of times each clip occurs in"
        " an epoch. 0.5 uses half of the clips, a different half in each epoch.",
    )

    @model_validator(mode="after")
    def _check_any_split(self) -> "CorpusConfig":
        """Check that the corpus has a table for at least one split."""
        if not any(self.splits.values()):
            raise ValueError("names no split; give at least one of train, validation, test")
        return self

    @property
    def splits(self) -> dict[str, str]:
        """Return split → path of its table for splits that have one, in the order of `SPLITS`."""
        return {name: path for name in SPLITS if (path := getattr(self, name))}
