"""The source of each part of combined features, derived from the source of the recipe.

A part reads the tables of the recipe's source: the source itself if features of its kind can be
extracted from it, a named `column` of its tables, or the media that belong to those of the source
(the poses of a corpus of videos, the videos of a corpus of poses). A table at the end of the module
states how a source of another kind is made; a kind of features that is missing there still works on
every source that names it, and on a `column`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from kinesweep.config.parts import FeaturesPart, SourcePart
from kinesweep.config.recipe.features.combined import CombinedFeaturesConfig, FeaturePartConfig
from kinesweep.config.recipe.source import (
    CorporaConfig,
    FeaturesConfig,
    PoseTsvConfig,
    SingleSourceConfig,
    SourceConfig,
    TsvConfig,
    VideoTsvConfig,
)
from kinesweep.config.recipe.sources.feature_kinds import FEATURES_KINDS_BY_SOURCE_KIND, can_extract

CorpusNames = tuple[str, ...]
_STANDARD_COLUMNS = ("signal", "signal_start", "signal_end", "source_signal", "input_pose")
"""Columns of media and times with a meaning of their own, which are read or hidden as such."""


def find_part_corpora(source: SourceConfig, part: FeaturePartConfig) -> CorpusNames | None:
    """Return the names of the corpora that provide a part's stream; None if there is no list.

    Raises:
        ValueError: If the part names a corpus that the list does not have, or names any although
            there is no list; or if no corpus can provide the stream.
    """
    if not isinstance(source, CorporaConfig):
        if part.corpora is not None:
            raise ValueError("`corpora` needs a list of corpora in `source`")
        return None
    names = [str(corpus.name) for corpus in source.corpora]
    if part.corpora is not None:
        unknown = [name for name in part.corpora if name not in names]
        if unknown:
            raise ValueError(
                f"`corpora` names {', '.join(unknown)}, but `source` lists {', '.join(names)}"
            )
        return part.corpora
    if part.source is not None:
        own = part.source.corpora if isinstance(part.source, CorporaConfig) else ()
        return tuple(name for name in names if name in [corpus.name for corpus in own])
    return tuple(
        str(corpus.name) for corpus in source.corpora if _derive_corpus(corpus, part) is not None
    )


def derive_part_source(
    source: SourceConfig, features: CombinedFeaturesConfig, part: FeaturePartConfig
) -> SourceConfig:
    """Return the source of a part, as a recipe with no other features would state it.

    Args:
        source: Source of the recipe.
        features: Features of the recipe; columns that other parts name are ignored in this one.
        part: Part.

    Raises:
        ValueError: If no source can be derived; the message says what to state.
    """
    names = find_part_corpora(source, part)
    if part.source is not None:
        return _use_own_source(part.source, names)
    columns = [other.column for other in features.parts]
    if not isinstance(source, CorporaConfig):
        return _ignore_columns(_derive_listed_corpus(source, part), columns)
    corpora = tuple(
        _ignore_columns(_derive_listed_corpus(corpus, part), columns)
        for corpus in source.corpora
        if corpus.name in (names or ())
    )
    if not corpora:
        raise ValueError(_format_missing_source(source.corpora[0], part))
    # Not validated: `videos` is refused in a list that users write, since its poses would have to
    # be estimated, but a derived corpus may read videos there.
    return CorporaConfig.model_construct(kind="corpora", corpora=corpora)


def _use_own_source(own: SourceConfig, names: CorpusNames | None) -> SourceConfig:
    """Return the own source of a part, with the corpus name that its clips need.

    Args:
        own: Source that the part states.
        names: Corpora of the recipe that provide the stream; None if there is no list.

    Raises:
        ValueError: If only one of the two sources is a list, or their names differ.
    """
    if names is None:
        if isinstance(own, CorporaConfig):
            raise ValueError(
                "`source` of the part is a list of corpora, but that of the recipe is"
                " not; their ids of clips would differ"
            )
        return own
    if isinstance(own, CorporaConfig):
        own_names = tuple(str(corpus.name) for corpus in own.corpora)
        if set(own_names) != set(names):
            raise ValueError(
                f"`source` of the part lists the corpora {', '.join(own_names)}, which are not"
                f" those that provide the stream ({', '.join(names) or 'none'}); use the names of"
                " the recipe's `source`"
            )
        return own
    if len(names) != 1:
        raise ValueError(
            "the recipe's `source` is a list of corpora; name the one that `source` of the part"
            " belongs to: `corpora: [NAME]`"
        )
    # Ids of clips begin with the name of their corpus if there is a list.
    named = own.model_copy(update={"name": names[0]})
    return CorporaConfig.model_construct(kind="corpora", corpora=(named,))


def _derive_listed_corpus(
    corpus: SingleSourceConfig, part: FeaturePartConfig
) -> SingleSourceConfig:
    """Return the corpus from which a part reads the clips of a corpus of the recipe.

    Raises:
        ValueError: If it cannot be derived.
    """
    derived = _derive_corpus(corpus, part)
    if derived is None:
        raise ValueError(_format_missing_source(corpus, part))
    return derived


def _derive_corpus(
    corpus: SingleSourceConfig, part: FeaturePartConfig
) -> SingleSourceConfig | None:
    """Return the corpus from which a part reads the clips of a corpus; None if there is none."""
    features = part.features
    own_root = {} if part.root is None else {"root": part.root}
    target_kinds = _list_source_kinds(features)
    if part.column is not None:
        for kind in target_kinds:
            if isinstance(corpus, TsvConfig) and issubclass(_SOURCE_CLASSES[kind], TsvConfig):
                # `poses` and `videos` belong to the media in `signal`, not to those of another
                # column.
                changes = {**own_root, "column": part.column, "poses": None, "videos": None}
                # The streams of a clip are joined by its id, which must not differ by column.
                changes["id_column"] = corpus.id_column or corpus.column
                return _adapt_to_features(_convert_tables(corpus, kind, changes), corpus, features)
        return None
    if corpus.kind in target_kinds or can_extract(corpus, features):
        direct = corpus.model_copy(update=own_root) if hasattr(corpus, "root") else corpus
        return _adapt_to_features(direct, corpus, features)
    for kind in target_kinds:
        derive = _DERIVATIONS.get((corpus.kind, kind))
        derived = None if derive is None else derive(corpus)
        if derived is not None:
            derived = derived.model_copy(update=own_root)
            return _adapt_to_features(derived, corpus, features)
    return None


def _list_source_kinds(features: FeaturesConfig) -> list[str]:
    """List our kinds of sources from which features of a kind can be extracted."""
    own_kinds = features.source_kinds if isinstance(features, FeaturesPart) else ()
    return [
        kind
        for kind, kinds in FEATURES_KINDS_BY_SOURCE_KIND.items()
        if features.kind in kinds or kind in own_kinds
    ]


def _adapt_to_features(
    derived: SingleSourceConfig, corpus: SingleSourceConfig, features: FeaturesConfig
) -> SingleSourceConfig:
    """Return a corpus that states poses for crops exactly if the features use crops."""
    if not isinstance(derived, VideoTsvConfig):
        return derived
    # With `videos`, the folder of the poses is the root of the corpus.
    poses = corpus.poses if isinstance(corpus, VideoTsvConfig) else getattr(corpus, "root", None)
    uses_poses = getattr(features, "uses_poses", False)
    return derived.model_copy(update={"poses": poses if uses_poses else None})


def _convert_tables(
    corpus: SingleSourceConfig, kind: str, changes: Mapping[str, Any]
) -> SingleSourceConfig:
    """Return a corpus of another kind with the same tables, and all settings that both kinds have.

    Args:
        corpus: Corpus of media files listed in tables.
        kind: Kind of the result.
        changes: Settings that replace those of the corpus; unknown ones are left out.
    """
    source_class = _SOURCE_CLASSES[kind]
    settings = {name: getattr(corpus, name) for name in type(corpus).model_fields} | dict(changes)
    known = {name: value for name, value in settings.items() if name in source_class.model_fields}
    converted: SingleSourceConfig = source_class.model_validate({**known, "kind": kind})
    return converted


def _derive_poses(corpus: VideoTsvConfig) -> SingleSourceConfig | None:
    """Return the corpus of the poses of a corpus of videos; None if it does not state them."""
    if corpus.poses is None:
        return None
    # Poses have the rates of their videos; `fps` chooses frames of videos.
    changes = {"root": corpus.poses, "names_videos": True, "fps": None}
    return _convert_tables(corpus, "pose_tsv", changes)


def _derive_videos(corpus: PoseTsvConfig) -> SingleSourceConfig | None:
    """Return the corpus of the videos of a corpus of poses; None if it does not state them."""
    return (
        None
        if corpus.videos is None
        else _convert_tables(corpus, "video_tsv", {"root": corpus.videos})
    )


def _ignore_columns(
    corpus: SingleSourceConfig, columns: Sequence[str | None]
) -> SingleSourceConfig:
    """Return a corpus that ignores the columns of other parts in its tables, and their times.

    Args:
        corpus: Corpus from which a part reads its clips.
        columns: Columns of all parts; None for parts without one.
    """
    ignored = getattr(corpus, "ignore_columns", None)
    if ignored is None:
        return corpus
    # The column that names the clips is read, and so are its times.
    own = [getattr(corpus, "column", None), getattr(corpus, "id_column", None)]
    unused = [
        name
        for column in dict.fromkeys(columns)
        if column not in (None, *own)
        for name in (column, f"{column}_start", f"{column}_end")
        if name not in _STANDARD_COLUMNS
    ]
    if not unused:
        return corpus
    return corpus.model_copy(update={"ignore_columns": tuple(dict.fromkeys([*ignored, *unused]))})


def _format_missing_source(corpus: SingleSourceConfig, part: FeaturePartConfig) -> str:
    """Format the error for a part whose media are unknown."""
    hints = {("video_tsv", "pose_tsv"): "`poses`", ("pose_tsv", "video_tsv"): "`videos`"}
    keys = [
        f", or {key} in `source`"
        for (kind, derived_kind), key in hints.items()
        if kind == corpus.kind and derived_kind in _list_source_kinds(part.features)
    ]
    return (
        f"features of kind `{part.features.kind}` cannot be extracted from a source of kind"
        f" {corpus.kind}; state the media of the part: a `column` of its tables, or a `source` of"
        f" its own{''.join(keys)}"
    )


_SOURCE_CLASSES: Mapping[str, Any] = {
    source_class.model_fields["kind"].annotation.__args__[0]: source_class
    for source_class in get_args(SingleSourceConfig)
    if source_class is not SourcePart  # whose tables need not be like ours
}
# (kind of the recipe's source, kind of the part's source) → function that derives the second from
# the first; None: the first lacks a setting for it.
_DERIVATIONS: Mapping[tuple[str, str], Callable[[Any], SingleSourceConfig | None]] = {
    ("video_tsv", "pose_tsv"): _derive_poses,
    ("pose_tsv", "video_tsv"): _derive_videos,
}
