"""Recipe part `source` and `features`: which corpus, and what is computed from it."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from kinesweep.core.clip import SPLITS
from kinesweep.core.config import Frozen
from kinesweep.core.recipe.corpus import CorpusConfig
from kinesweep.core.recipe.shards import H5ShardsConfig, StreamsFeaturesConfig
from kinesweep.core.recipe.skeletons import SkeletonFeaturesConfig, SkeletonsConfig
from kinesweep.core.recipe.video import VideoFeaturesConfig


class TsvConfig(CorpusConfig):
    """A corpus of media files listed in one tab-separated file a split."""

    root: str | None = Field(
        None,
        description="Folder that media paths are relative to; default: the folder of each TSV."
        " `{estimator}` in it stands for `features.estimator`.",
    )
    fps: float | None = Field(
        None, gt=0, description="Frames a second of folders of pictures that stand for videos."
    )
    times: Literal["ms", "frames"] = Field(
        "ms", description="Unit of the columns of start and end."
    )
    ignore_columns: tuple[str, ...] = Field(
        (), description="Columns of the TSVs that may be there unused."
    )


class PoseTsvConfig(TsvConfig):
    """A corpus of `.pose` files listed in one tab-separated file a split."""

    kind: Literal["pose_tsv"] = Field("pose_tsv", description="Format of the corpus.")
    videos: str | None = Field(
        None,
        description="Folder of the videos, or of folders of pictures, that media paths name; their"
        " poses are estimated into `root` before they are extracted.",
    )
    person: int = Field(0, ge=0, description="Which person of a pose file is used.")

    @model_validator(mode="after")
    def _poses_have_a_place(self) -> "PoseTsvConfig":
        if self.videos is not None and self.root is None:
            raise ValueError("`videos` needs `root`, the folder that their poses are written to")
        return self


class VideoTsvConfig(TsvConfig):
    """A corpus of videos, or folders of pictures, listed in one tab-separated file a split."""

    kind: Literal["video_tsv"] = Field(description="Format of the corpus.")
    poses: str | None = Field(
        None,
        description="Folder of the videos' poses, as `kinesweep estimate` writes them, for"
        " `features.crops`: under each video's path, `.pose` in place of its suffix.",
    )


class FeatureManifestConfig(CorpusConfig):
    """Features that were computed elsewhere: SSVP-SLT's manifests and trees of `.pt` files."""

    kind: Literal["feature_manifest"] = Field(description="Format of the corpus.")
    features: str | None = Field(
        None,
        description="Folder with `{epoch}/{name[:5]}/{name}.pt`; default: `features` beside the"
        " folder of each manifest.",
    )
    epochs: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0,),
        min_length=1,
        description="Augmented copies that train has, by the names of their folders; each is a"
        " clip of its own. Validation and test have the first alone.",
    )
    fps: float = Field(
        25 / 2, gt=0, description="Features a second, as they were extracted; SSVP-SLT's: 12.5."
    )

    @model_validator(mode="after")
    def _each_epoch_once(self) -> "FeatureManifestConfig":
        if len(set(self.epochs)) < len(self.epochs):
            raise ValueError(f"`epochs` names one twice: {', '.join(map(str, self.epochs))}")
        return self


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


class GivenFeaturesConfig(Frozen):
    """Features as they are given, by a corpus that holds nothing else."""

    kind: Literal["given"] = Field("given", description="What is computed from a clip: nothing.")
    stream: str = Field("video", pattern=r"^[a-z][a-z0-9_]*$", description="Name of the stream.")


def _kind(default: str) -> Callable[[object], str]:
    """Tells which member of a union is meant; without a `kind` the default."""

    def kind_of(value: object) -> str:
        mapping = isinstance(value, Mapping)
        return str(value.get("kind", default) if mapping else getattr(value, "kind", ""))  # type: ignore[attr-defined]

    return kind_of


OneSourceConfig = (
    PoseTsvConfig | VideoTsvConfig | FeatureManifestConfig | H5ShardsConfig | SkeletonsConfig
)
OneSource = Annotated[
    Annotated[PoseTsvConfig, Tag("pose_tsv")]
    | Annotated[VideoTsvConfig, Tag("video_tsv")]
    | Annotated[FeatureManifestConfig, Tag("feature_manifest")]
    | Annotated[H5ShardsConfig, Tag("h5_shards")]
    | Annotated[SkeletonsConfig, Tag("skeletons")],
    Discriminator(_kind("pose_tsv")),
]


class CorporaConfig(Frozen):
    """Several corpora as one; in a recipe a plain list. Each has the splits that it names."""

    kind: Literal["corpora"] = Field(description="Format of the corpus.")
    corpora: tuple[OneSource, ...] = Field(min_length=1, description="The corpora.")

    @model_validator(mode="after")
    def _told_apart(self) -> "CorporaConfig":
        names = [corpus.name for corpus in self.corpora]
        if None in names or len(set(names)) < len(names):
            raise ValueError("each of several corpora needs a `name` of its own")
        kinds = {corpus.kind for corpus in self.corpora}
        if len(kinds) > 1:
            raise ValueError(f"corpora must be of one kind, not {' and '.join(sorted(kinds))}")
        if any(getattr(corpus, "videos", None) for corpus in self.corpora):
            raise ValueError(
                "`videos` belongs to a corpus alone; estimate each one's poses first"
                " (`kinesweep estimate`)"
            )
        return self

    @property
    def splits(self) -> dict[str, str]:
        """Split → its tables, separated by spaces."""
        tables: dict[str, list[str]] = {name: [] for name in SPLITS}
        for corpus in self.corpora:
            for name, path in corpus.splits.items():
                tables[name].append(path)
        return {name: " ".join(paths) for name, paths in tables.items() if paths}


def _listed(value: object) -> object:
    """A list of corpora as the mapping that it stands for."""
    return {"kind": "corpora", "corpora": value} if isinstance(value, list | tuple) else value


SourceConfig = OneSourceConfig | CorporaConfig
FeaturesConfig = (
    PoseFeaturesConfig
    | VideoFeaturesConfig
    | GivenFeaturesConfig
    | StreamsFeaturesConfig
    | SkeletonFeaturesConfig
)
AnySource = Annotated[
    Annotated[PoseTsvConfig, Tag("pose_tsv")]
    | Annotated[VideoTsvConfig, Tag("video_tsv")]
    | Annotated[FeatureManifestConfig, Tag("feature_manifest")]
    | Annotated[H5ShardsConfig, Tag("h5_shards")]
    | Annotated[SkeletonsConfig, Tag("skeletons")]
    | Annotated[CorporaConfig, Tag("corpora")],
    Discriminator(_kind("pose_tsv")),
    BeforeValidator(_listed),
]
AnyFeatures = Annotated[
    Annotated[PoseFeaturesConfig, Tag("pose")]
    | Annotated[VideoFeaturesConfig, Tag("video")]
    | Annotated[GivenFeaturesConfig, Tag("given")]
    | Annotated[StreamsFeaturesConfig, Tag("streams")]
    | Annotated[SkeletonFeaturesConfig, Tag("skeleton")],
    Discriminator(_kind("pose")),
]
FEATURES_OF = {
    "pose_tsv": "pose",
    "video_tsv": "video",
    "feature_manifest": "given",
    "h5_shards": "streams",
    "skeletons": "skeleton",
}
"""Kind of a source → the kind of features that can be computed from it."""
