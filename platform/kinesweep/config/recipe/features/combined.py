"""Recipe section `features` with several parts: each a stream of its own over the same clips.

A part has every key of its kind of features, and a few keys that name its stream and its media. The
classes of parts are derived from the classes of features, so a new kind of features is a kind of
part without further work. In a recipe, a list of parts is short for `{kind: combined, parts: …,
streams: all}`.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args

from pydantic import (
    BeforeValidator,
    Field,
    Tag,
    create_model,
    model_validator,
)

from kinesweep.config.loading import StrictConfig
from kinesweep.config.parts import KindOrPart
from kinesweep.config.recipe.h5_shards import StreamName, split_stream_names
from kinesweep.config.recipe.source import AnyFeatures, AnySource, FeaturesConfig
from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import InputError

ALL_STREAMS = "all"


class FeaturePartConfig(StrictConfig):
    """Keys of a part besides those of its kind of features."""

    name: StreamName = Field(description="Name of the stream.")
    column: str | None = Field(
        None,
        min_length=1,
        description="Column of the corpus tables with the media paths of this part; default: the"
        " media that `source` names, or that belong to them.",
    )
    root: str | None = Field(
        None,
        description="Folder that the media paths of this part are relative to; default: that of"
        " `source`.",
    )
    corpora: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Corpora of the list in `source` that provide this stream; default: all that"
        " can. The stream is absent in clips of other corpora.",
    )
    source: AnySource | None = Field(
        None,
        description="Source of this part alone; its clips are matched by id with those of the"
        " recipe's `source`.",
    )

    @property
    def features(self) -> FeaturesConfig:
        """Return the features of the part as those of a recipe that has no others."""
        # A class of parts has exactly one class of features among its bases, the second.
        features_class = type(self).__bases__[1]
        # The values come from a validated part, so they are not validated again.
        return features_class.model_construct(  # type: ignore[attr-defined]
            **{name: getattr(self, name) for name in features_class.model_fields}  # type: ignore[attr-defined]
        )

    @model_validator(mode="after")
    def _check_keys(self) -> "FeaturePartConfig":
        """Check that the part has one name, one stream, and one description of its media."""
        if self.name == ALL_STREAMS:
            raise ValueError(f"`name` must not be `{ALL_STREAMS}`, which selects every stream")
        if self.source is not None and (self.column or self.root):
            raise ValueError(
                "`column` and `root` belong to the tables of `source`; an own `source`"
                " has such keys itself"
            )
        streams = getattr(self, "streams", None)
        if streams is not None and len(streams) != 1:
            raise ValueError("`streams` must name one stream; write a part for each")
        # The join reads one stream from the store of a part.
        if getattr(self, "reference", None) is not None:
            raise ValueError(
                "`reference` gives a second stream, but a part has only one; compare motions in a"
                " recipe without other parts"
            )
        return self


@cache
def _make_part_class(features_class: Any) -> Any:
    """Make the class of parts from a features class, with the keys of both.

    Raises:
        InputError: If both have a key of the same name, which would set two things at once.
    """
    shared = sorted(FeaturePartConfig.model_fields.keys() & features_class.model_fields.keys())
    if shared:
        raise InputError(
            f"the features of `{features_class.__module__}:{features_class.__qualname__}` have the"
            f" key `{shared[0]}`, which in a list of features is a key of every part; they can only"
            " be used alone, unless their package renames the key"
        )
    name = features_class.__name__.replace("FeaturesConfig", "PartConfig")
    return create_model(
        name,
        __base__=(FeaturePartConfig, features_class),
        __module__=__name__,
        __doc__=features_class.__doc__,
    )


_TAGGED_FEATURES: tuple[Any, ...] = get_args(get_args(AnyFeatures)[0])
# A union over a computed tuple of classes is an expression that mypy cannot read as a type.
if TYPE_CHECKING:
    AnyPart = FeaturePartConfig
else:
    AnyPart = Annotated[
        Union[tuple(_make_part_class(features) for features in get_args(FeaturesConfig))],  # noqa: UP007
        KindOrPart("pose", adapt_class=_make_part_class),
    ]


class CombinedFeaturesConfig(StrictConfig):
    """Several streams of features over the same clips, written as a list of parts in a recipe."""

    kind: Literal["combined"] = Field(description="Kind of features: several parts.")
    parts: tuple[AnyPart, ...] = Field(description="Parts, one stream each.")
    streams: Annotated[tuple[StreamName, ...], BeforeValidator(split_stream_names)] = Field(
        (),
        description="Streams that the model reads, in the order in which they are fused: a list, a"
        " text such as `pose+dino`, or `all`. Clips must have all parts, whichever are selected, so"
        " that recipes with other streams train on the same clips. Default: all.",
    )

    # Runs before validation, so that a saved recipe lists the streams that were used.
    @model_validator(mode="before")
    @classmethod
    def _fill_in_streams(cls, values: Any) -> Any:
        """Return the input with the names of all parts if it selects none, or `all`."""
        if not isinstance(values, Mapping) or values.get("streams") not in _ALL_SELECTIONS:
            return values
        parts = values.get("parts")
        names = [
            part.get("name") if isinstance(part, Mapping) else getattr(part, "name", None)
            for part in (parts if isinstance(parts, list | tuple) else ())
        ]
        # Names that are missing or no texts are reported where the parts are validated.
        streams = tuple(dict.fromkeys(name for name in names if isinstance(name, str)))
        return {**values, "streams": streams}

    @model_validator(mode="after")
    def _check_streams(self) -> "CombinedFeaturesConfig":
        """Check that the selected streams exist, each once, and that parts of one name differ."""
        if not self.parts:
            raise ValueError("lists no part; give at least one")
        for name in self.streams:
            if name not in self.stream_names:
                raise ValueError(
                    f"`streams` names `{name}`{suggest_closest_word(name, list(self.stream_names))}"
                    f"; the parts are {', '.join(f'`{known}`' for known in self.stream_names)}"
                )
        if len(set(self.streams)) < len(self.streams):
            raise ValueError(f"`streams` lists a stream twice: {', '.join(self.streams)}")
        for name in self.stream_names:
            corpora = [part.corpora for part in self.parts if part.name == name]
            listed = [corpus for names in corpora for corpus in names or ()]
            if len(corpora) > 1 and (None in corpora or len(set(listed)) < len(listed)):
                raise ValueError(
                    f"two parts are called `{name}`; parts of one stream need different `corpora`"
                )
        return self

    @property
    def stream_names(self) -> tuple[str, ...]:
        """Return the names of all streams, in the order of the parts."""
        return tuple(dict.fromkeys(part.name for part in self.parts))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of all parts, in their order."""
        return tuple(part.features.kind for part in self.parts)


# Values of `streams` that select every part.
_ALL_SELECTIONS: tuple[object, ...] = (None, ALL_STREAMS, (), [], [ALL_STREAMS], (ALL_STREAMS,))


def wrap_parts(features: object) -> object:
    """Wrap a list of parts in the mapping that it is short for; return other values unchanged."""
    if not isinstance(features, list | tuple):
        return features
    return {"kind": "combined", "parts": list(features), "streams": ALL_STREAMS}


def iter_selected_parts(features: CombinedFeaturesConfig) -> Iterator[FeaturePartConfig]:
    """Yield the parts of the selected streams, in the order of the selection."""
    for name in features.streams:
        yield from (part for part in features.parts if part.name == name)


RecipeFeaturesConfig = FeaturesConfig | CombinedFeaturesConfig
if TYPE_CHECKING:
    AnyRecipeFeatures = RecipeFeaturesConfig
else:
    AnyRecipeFeatures = Annotated[
        Union[(*_TAGGED_FEATURES, Annotated[CombinedFeaturesConfig, Tag("combined")])],
        KindOrPart("pose"),
        BeforeValidator(wrap_parts),
    ]
