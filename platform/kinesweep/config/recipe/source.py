"""Recipe sections `source` and `features`: the corpus and the features extracted from it."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, Tag, model_validator

from kinesweep.config.corpus import CorpusConfig
from kinesweep.config.loading import StrictConfig
from kinesweep.config.parts import FeaturesPart, KindOrPart, SourcePart
from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.config.recipe.features.images import ImagesFeaturesConfig
from kinesweep.config.recipe.features.pose import PoseFeaturesConfig as PoseFeaturesConfig
from kinesweep.config.recipe.features.text import TextFeaturesConfig
from kinesweep.config.recipe.h5_shards import H5ShardsConfig, StreamsFeaturesConfig
from kinesweep.config.recipe.skeletons import (
    SkeletonFeaturesConfig,
    SkeletonsConfig,
)
from kinesweep.config.recipe.sources.estimators import AnyJointEstimator
from kinesweep.config.recipe.sources.feature_tsv import FeatureTsvConfig
from kinesweep.config.recipe.sources.image_tsv import ImageTsvConfig
from kinesweep.config.recipe.sources.written_tables import SignWritingTsvConfig, TextTsvConfig
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.clip import SPLITS

ESTIMATOR_PLACEHOLDER = "{estimator}"
"""Part of `source.root` that is replaced by the name of the pose estimator."""


class TsvConfig(CorpusConfig):
    """A corpus of media files listed in one tab-separated file per split."""

    root: str | None = Field(
        None,
        description="Folder that media paths are relative to; default: the folder of each TSV."
        " `{estimator}` in it is replaced by `features.estimator`.",
    )
    fps: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Frame rate in frames per second: of videos that are stored as folders of"
        " images; of `.pose` files, whose stated rate it replaces; and the rate at which the frames"
        " of video files are chosen by their time stamps. Default: the rate of each file.",
    )
    time_unit: Literal["ms", "s", "frames"] = Field(
        "ms",
        description="Time unit of the columns with start and end: `ms`, `s` (seconds) or `frames`.",
    )
    ignore_columns: tuple[str, ...] = Field(
        (), description="Unknown columns that the TSVs may contain; they are ignored."
    )
    column: str | None = Field(
        None,
        min_length=1,
        description="Column of the media paths; clips keep the ids that they have by `signal`, if"
        " the TSVs have this column. Columns with the same name and `_start` or `_end` at its end"
        " are the times in these media. Default: `signal`.",
    )
    id_column: str | None = Field(
        None,
        min_length=1,
        description="Column of media paths that names the clips if the TSVs have no `signal`."
        " Default: `column`.",
    )


class PoseTsvConfig(TsvConfig):
    """A corpus of `.pose` files listed in one tab-separated file per split."""

    kind: Literal["pose_tsv"] = Field("pose_tsv", description="Format of the corpus.")
    videos: str | None = Field(
        None,
        description="Folder of the videos, or folders of images, that media paths refer to; their"
        " poses are estimated into `root` before extraction.",
    )
    names_videos: bool = Field(
        False,
        description="Media paths name videos; the poses of each have its path with the suffix"
        " `.pose`. Unlike `videos`, nothing is estimated.",
    )
    estimator: AnyJointEstimator | None = Field(
        None,
        description="Estimator of the poses of `videos`, with settings of its own, such as"
        " `kind: rtmpose`; default: the one that `features.estimator` names.",
    )
    person: int = Field(0, ge=0, description="Index of the person used from a pose file.")

    @property
    def pose_fps(self) -> float | None:
        """Return the frame rate that replaces the one that pose files state; None keeps theirs."""
        # Poses that are estimated from `videos` have the rates of these; `fps` is that of folders
        # of images among them.
        return self.fps if self.videos is None else None

    @model_validator(mode="after")
    def _check_pose_root(self) -> "PoseTsvConfig":
        """Check that `root`, the folder that poses are written to, is set if `videos` is."""
        if self.videos is not None and self.root is None:
            raise ValueError("`videos` needs `root`, the folder that their poses are written to")
        if self.estimator is not None and self.videos is None:
            raise ValueError("`estimator` needs `videos`, whose poses it estimates")
        return self


class VideoTsvConfig(TsvConfig):
    """A corpus of videos, or folders of images, listed in one tab-separated file per split."""

    kind: Literal["video_tsv"] = Field(description="Format of the corpus.")
    poses: str | None = Field(
        None,
        description="Folder of the videos' poses as written by `kinesweep estimate-poses`, for"
        " `features.crops`; each has the path of its video with the suffix `.pose`.",
    )
    allow_empty_texts: bool = Field(
        False, description="Read rows and tables without texts too; for `kinesweep pretrain`."
    )


class FeatureManifestConfig(CorpusConfig):
    """A corpus of precomputed features: SSVP-SLT's manifests and trees of `.pt` files."""

    kind: Literal["feature_manifest"] = Field(description="Format of the corpus.")
    features: str | None = Field(
        None,
        description="Folder with `{epoch}/{name[:5]}/{name}.pt`; default: `features` next to the"
        " folder of each manifest.",
    )
    # SSVP-SLT extracts each clip once per epoch, with other random augmentations each time.
    epochs: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0,),
        min_length=1,
        description="Folder names of the augmented copies used for training; each copy is a"
        " separate clip, or a variant (`epochs_as`). Validation and test use only the first.",
    )
    epochs_as: Literal["clips", "variants"] = Field(
        "clips",
        description="`clips`: an epoch of training reads every copy. `variants`: training epoch e"
        " reads one copy of each clip, that of `epochs[e mod n]`, as in SSVP-SLT.",
    )
    fps: float = Field(
        25 / 2, gt=0, description="Features per second of the extraction; 12.5 in SSVP-SLT."
    )

    @model_validator(mode="after")
    def _check_epochs_once(self) -> "FeatureManifestConfig":
        """Check that no epoch is listed twice."""
        if len(set(self.epochs)) < len(self.epochs):
            raise ValueError(f"`epochs` lists an epoch twice: {', '.join(map(str, self.epochs))}")
        return self


class ManifestEpochConfig(FeatureManifestConfig):
    """The copies of one epoch of train, as `feature_epochs` derives them; not part of recipes.

    The lengths in a manifest are those of the first epoch, so they are not checked here.
    """


class PrecomputedFeaturesConfig(StrictConfig):
    """Precomputed features of a corpus, used without further computation."""

    kind: Literal["precomputed"] = Field(
        "precomputed", description="Kind of features: precomputed."
    )
    stream: str = Field("video", pattern=r"^[a-z][a-z0-9_]*$", description="Name of the stream.")
    stride: int = Field(
        1, ge=1, description="Keep every n-th feature vector; the rate is divided by it."
    )


SingleSourceConfig = (
    PoseTsvConfig
    | VideoTsvConfig
    | FeatureManifestConfig
    | FeatureTsvConfig
    | ImageTsvConfig
    | SignWritingTsvConfig
    | TextTsvConfig
    | H5ShardsConfig
    | SkeletonsConfig
    | SourcePart
)
SingleSource = Annotated[
    Annotated[PoseTsvConfig, Tag("pose_tsv")]
    | Annotated[VideoTsvConfig, Tag("video_tsv")]
    | Annotated[FeatureManifestConfig, Tag("feature_manifest")]
    | Annotated[FeatureTsvConfig, Tag("feature_tsv")]
    | Annotated[ImageTsvConfig, Tag("image_tsv")]
    | Annotated[SignWritingTsvConfig, Tag("signwriting_tsv")]
    | Annotated[TextTsvConfig, Tag("text_tsv")]
    | Annotated[H5ShardsConfig, Tag("h5_shards")]
    | Annotated[SkeletonsConfig, Tag("skeletons")]
    | SourcePart,
    KindOrPart("pose_tsv"),
]


class CorporaConfig(StrictConfig):
    """Several corpora combined into one, written as a list in a recipe.

    Each corpus contributes the splits that it defines.
    """

    kind: Literal["corpora"] = Field(description="Format of the corpus.")
    corpora: tuple[SingleSource, ...] = Field(min_length=1, description="The corpora.")

    @model_validator(mode="after")
    def _check_corpora(self) -> "CorporaConfig":
        """Check that the corpora have different names, and no `videos`."""
        # The name prefixes the ids of clips, which must stay unique over all corpora.
        names = [corpus.name for corpus in self.corpora]
        if None in names or len(set(names)) < len(names):
            raise ValueError("each of several corpora needs a `name` of its own")
        if any(getattr(corpus, "videos", None) for corpus in self.corpora):
            raise ValueError(
                "`videos` is not supported in a list of corpora; estimate the poses of each corpus"
                " first (`kinesweep estimate-poses`)"
            )
        return self

    @property
    def splits(self) -> dict[str, str]:
        """Return split → paths of its tables in all corpora, separated by spaces."""
        # Starting from SPLITS fixes the order of the splits, whichever corpus defines them.
        paths_by_split: dict[str, list[str]] = {split: [] for split in SPLITS}
        for corpus in self.corpora:
            for split, path in corpus.splits.items():
                paths_by_split[split].append(path)
        return {split: " ".join(paths) for split, paths in paths_by_split.items() if paths}


def _wrap_corpora_list(value: object) -> object:
    """Wrap a list in the mapping that `CorporaConfig` expects; return other values unchanged."""
    return {"kind": "corpora", "corpora": value} if isinstance(value, list | tuple) else value


SourceConfig = SingleSourceConfig | CorporaConfig
FeaturesConfig = (
    PoseFeaturesConfig
    | VideoFeaturesConfig
    | FramesFeaturesConfig
    | PrecomputedFeaturesConfig
    | StreamsFeaturesConfig
    | ImagesFeaturesConfig
    | TextFeaturesConfig
    | SkeletonFeaturesConfig
    | FeaturesPart
)
AnySource = Annotated[
    Annotated[PoseTsvConfig, Tag("pose_tsv")]
    | Annotated[VideoTsvConfig, Tag("video_tsv")]
    | Annotated[FeatureManifestConfig, Tag("feature_manifest")]
    | Annotated[FeatureTsvConfig, Tag("feature_tsv")]
    | Annotated[ImageTsvConfig, Tag("image_tsv")]
    | Annotated[SignWritingTsvConfig, Tag("signwriting_tsv")]
    | Annotated[TextTsvConfig, Tag("text_tsv")]
    | Annotated[H5ShardsConfig, Tag("h5_shards")]
    | Annotated[SkeletonsConfig, Tag("skeletons")]
    | Annotated[CorporaConfig, Tag("corpora")]
    | SourcePart,
    KindOrPart("pose_tsv"),
    BeforeValidator(_wrap_corpora_list),
]
AnyFeatures = Annotated[
    Annotated[PoseFeaturesConfig, Tag("pose")]
    | Annotated[VideoFeaturesConfig, Tag("video")]
    | Annotated[FramesFeaturesConfig, Tag("frames")]
    | Annotated[PrecomputedFeaturesConfig, Tag("precomputed")]
    | Annotated[StreamsFeaturesConfig, Tag("streams")]
    | Annotated[ImagesFeaturesConfig, Tag("images")]
    | Annotated[TextFeaturesConfig, Tag("text")]
    | Annotated[SkeletonFeaturesConfig, Tag("skeleton")]
    | FeaturesPart,
    KindOrPart("pose"),
]
