"""Recipe section `source` for images that are listed in one tab-separated file per split."""

from typing import Literal

from pydantic import Field

from kinesweep.config.corpus import CorpusConfig


class ImageTsvConfig(CorpusConfig):
    """A corpus of image files, one for each clip, named in one tab-separated file per split."""

    kind: Literal["image_tsv"] = Field(description="Format of the corpus.")
    root: str | None = Field(
        None,
        description="Folder that the paths of images are relative to; default: the folder of each"
        " TSV.",
    )
    ignore_columns: tuple[str, ...] = Field(
        (), description="Unknown columns that the TSVs may contain; they are ignored."
    )
