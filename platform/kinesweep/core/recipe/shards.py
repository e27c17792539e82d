"""Recipe parts `source` and `features` of corpora with several streams in shards.

The layout is Sign_LLaVA's: an annotation a split, and below the folder of each stream its shards,
whose names hold the same word for the split as the annotation's does. Which of a source's streams
are taken, and in which order, the features say: so a sweep can ask which of them help.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from kinesweep.core.config import Frozen
from kinesweep.core.recipe.corpus import CorpusConfig

StreamName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
_ANNOTATION = re.compile(r"annotation\.([\w-]+)\.json")


class ShardStreamConfig(Frozen):
    """One stream of a corpus in shards."""

    name: StreamName = Field(description="What it is called.")
    fps: float = Field(gt=0, description="Features a second; shards do not carry a rate.")
    width: int | None = Field(
        None, ge=1, description="Values a feature; clips of another width are refused."
    )
    folder: str | None = Field(
        None, min_length=1, description="Its folder below `source.root`; default: its name."
    )

    @property
    def place(self) -> str:
        """Its folder below the root."""
        return self.folder or self.name


class H5ShardsConfig(CorpusConfig):
    """Streams of features that were computed elsewhere: Sign_LLaVA's annotations and shards.

    Below the folder of each stream lie `{prefix}.{token}.{shard}.h5` and
    `metadata_{prefix}.{token}.json`; the prefix is the stream's name or `dino`, the token that of
    the annotation's name, `annotation.{token}.json`.
    """

    kind: Literal["h5_shards"] = Field(description="Format of the corpus.")
    root: str | None = Field(
        None, description="Folder of the streams' folders; default: that of each annotation."
    )
    streams: tuple[ShardStreamConfig, ...] = Field(min_length=1, description="The streams.")
    ignore_keys: tuple[str, ...] = Field(
        (), description="Keys of the annotations that may be there unused."
    )

    @model_validator(mode="after")
    def _streams_are_told_apart(self) -> "H5ShardsConfig":
        for what in ("name", "place"):
            found = [getattr(stream, what) for stream in self.streams]
            if len(set(found)) < len(found):
                raise ValueError(f"two streams have one {what}: {', '.join(found)}")
        return self

    @model_validator(mode="after")
    def _splits_have_a_token(self) -> "H5ShardsConfig":
        for path in self.splits.values():
            token_of(path)
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Of the streams, in order."""
        return tuple(stream.name for stream in self.streams)

    def check(self, names: Sequence[str]) -> None:
        """Refuses names of streams that it does not have.

        Raises:
            ValueError: names them.
        """
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise ValueError(
                f"`features.streams` names {', '.join(unknown)}, but the source has"
                f" {', '.join(self.names)}"
            )

    def of(self, names: tuple[str, ...]) -> "H5ShardsConfig":
        """The same corpus with some of its streams, in this order."""
        known = {stream.name: stream for stream in self.streams}
        return self.model_copy(update={"streams": tuple(known[name] for name in names)})


def token_of(annotation: str) -> str:
    """The word for a split in the names of its shards: `dev` of `annotation.dev.json`.

    Raises:
        ValueError: the annotation is called otherwise.
    """
    name = PurePath(annotation).name
    match = _ANNOTATION.fullmatch(name)
    if match is None:
        raise ValueError(
            f"`{name}` is no name of an annotation; it must be annotation.{{token}}.json, where the"
            " token is the word for the split in the names of the shards, such as train or dev"
        )
    return match[1]


def _listed(value: object) -> object:
    """`pose+dino` as the list that it stands for; a sweep's choices are plain values."""
    return tuple(value.split("+")) if isinstance(value, str) else value


class StreamsFeaturesConfig(Frozen):
    """Streams as they are given, by a corpus that holds several."""

    kind: Literal["streams"] = Field(description="What is computed from a clip: nothing.")
    streams: Annotated[tuple[StreamName, ...], BeforeValidator(_listed)] = Field(
        (),
        description="Which of the source's streams, in the order in which they are joined; also as"
        " `pose+dino`. Default: all.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> "StreamsFeaturesConfig":
        if len(set(self.streams)) < len(self.streams):
            raise ValueError(f"`streams` names one twice: {', '.join(self.streams)}")
        return self


def with_streams(recipe: Any) -> Any:
    """A recipe that nobody has looked at yet, its features naming all streams if they named none.

    A run's recipe says then which they were.
    """
    features = recipe.get("features") if isinstance(recipe, Mapping) else None
    if isinstance(features, StreamsFeaturesConfig):
        features = features.model_dump()
    if not isinstance(features, Mapping) or features.get("kind") != "streams":
        return recipe
    if features.get("streams"):
        return recipe
    return {**recipe, "features": {**features, "streams": _names_in(recipe.get("source"))}}


def _names_in(source: Any) -> tuple[str, ...]:
    """Names of the streams of a source that nobody has looked at yet; of one of no shape none."""
    if isinstance(source, Mapping):
        corpora, streams = source.get("corpora"), source.get("streams")
    else:
        corpora, streams = getattr(source, "corpora", None), getattr(source, "streams", None)
    if isinstance(source, list | tuple):
        corpora = source
    if corpora:
        return _names_in(corpora[0])
    plain = [vars(s) if isinstance(s, ShardStreamConfig) else s for s in streams or ()]
    names = [s.get("name") for s in plain if isinstance(s, Mapping)]
    return tuple(name for name in names if isinstance(name, str))
