"""Recipe part `source`: what corpora of all kinds have, a table a split."""

from pydantic import Field, model_validator

from kinesweep.core.clip import SPLITS
from kinesweep.core.config import Frozen


class CorpusConfig(Frozen):
    """What all corpora have: a table a split."""

    train: str | None = Field(None, description="Table of the training split.")
    validation: str | None = Field(None, description="Table of the validation split.")
    test: str | None = Field(None, description="Table of the test split.")
    max_clips: int | None = Field(
        None, ge=1, description="Only the first clips of each split; for trying things out."
    )
    name: str | None = Field(
        None, pattern=r"^[\w.-]+$", description="What it is called among several corpora."
    )
    weight: float = Field(
        1.0,
        gt=0,
        description="How often each of its clips comes in an epoch, among several corpora; 0.5:"
        " half of them, others in each epoch.",
    )

    @model_validator(mode="after")
    def _some_split(self) -> "CorpusConfig":
        if not any(self.splits.values()):
            raise ValueError("names no split; give at least one of train, validation, test")
        return self

    @property
    def splits(self) -> dict[str, str]:
        """Split → table, for the splits that the corpus has."""
        return {name: path for name in SPLITS if (path := getattr(self, name))}
