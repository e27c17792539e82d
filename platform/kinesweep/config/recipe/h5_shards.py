"""Recipe sections `source` and `features` of corpora with several streams in HDF5 shards.

The layout is that of Sign_LLaVA: one annotation file per split, and one folder of shards per
stream. File names of shards contain the same token for the split as the annotation's file name. The
features select the streams and their order, so that a sweep can search over them.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from kinesweep.config.corpus import CorpusConfig
from kinesweep.config.loading import StrictConfig

StreamName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
_ANNOTATION_PATTERN = re.compile(r"annotation\.([\w-]+)\.json")


class ShardStreamConfig(StrictConfig):
    """One stream of a sharded corpus."""

    name: StreamName = Field(description="Name of the stream.")
    fps: float = Field(gt=0, description="Features per second; shards do not store a rate.")
    width: int | None = Field(
        None, ge=1, description="Expected values per feature; clips of other widths are rejected."
    )
    folder: str | None = Field(
        None,
        min_length=1,
        description="Folder of the stream below `source.root`; default: the name of the stream.",
    )

    @property
    def subfolder(self) -> str:
        """Return the folder of the stream, relative to `source.root`."""
        return self.folder or self.name


class H5ShardsConfig(CorpusConfig):
    """A corpus of precomputed feature streams: Sign_LLaVA's annotations and HDF5 shards.

    The folder of each stream contains `{prefix}.{token}.{shard}.h5` and
    `metadata_{prefix}.{token}.json`. The prefix is the name of the stream or `dino`; the token is
    the one in the annotation's file name, `annotation.{token}.json`.
    """

    kind: Literal["h5_shards"] = Field(description="Format of the corpus.")
    root: str | None = Field(
        None,
        description="Folder that contains the folders of the streams; default: the folder of each"
        " annotation file.",
    )
    streams: tuple[ShardStreamConfig, ...] = Field(
        min_length=1, description="Streams of the corpus."
    )
    ignore_keys: tuple[str, ...] = Field(
        (), description="Unknown keys that the annotations may contain; they are ignored."
    )

    @model_validator(mode="after")
    def _check_streams_differ(self) -> "H5ShardsConfig":
        """Check that no two streams share a name or a folder."""
        # Two streams in one folder would read the same shards.
        for attribute in ("name", "subfolder"):
            values = [getattr(stream, attribute) for stream in self.streams]
            if len(set(values)) < len(values):
                raise ValueError(f"two streams have the same {attribute}: {', '.join(values)}")
        return self

    @model_validator(mode="after")
    def _check_split_tokens(self) -> "H5ShardsConfig":
        """Check that the name of each annotation file has the form `annotation.{token}.json`."""
        for path in self.splits.values():
            # Raises a ValueError, which pydantic turns into a problem at `source`.
            parse_split_token(path)
        return self

    @property
    def stream_names(self) -> tuple[str, ...]:
        """Return the names of the streams in the order of `streams`."""
        return tuple(stream.name for stream in self.streams)

    def check_streams(self, names: Sequence[str]) -> None:
        """Check that the corpus has all named streams.

        Raises:
            ValueError: If a stream is unknown; the message names all unknown streams.
        """
        unknown_names = [name for name in names if name not in self.stream_names]
        if unknown_names:
            raise ValueError(
                f"`features.streams` names {', '.join(unknown_names)}, but the source has"
                f" {', '.join(self.stream_names)}"
            )

    def select_streams(self, names: tuple[str, ...]) -> "H5ShardsConfig":
        """Return the corpus with only the named streams, in the order of the names.

        Raises:
            KeyError: If a stream is unknown; `check_streams` reports it better.
        """
        streams_by_name = {stream.name: stream for stream in self.streams}
        return self.model_copy(update={"streams": tuple(streams_by_name[name] for name in names)})


def parse_split_token(annotation: str) -> str:
    """Parse the token that file names of a split's shards contain from its annotation's file name.

    Args:
        annotation: Path of the annotation file; `annotation.dev.json` gives `dev`.

    Raises:
        ValueError: If the file name has another form.
    """
    name = PurePath(annotation).name
    match = _ANNOTATION_PATTERN.fullmatch(name)
    if match is None:
        raise ValueError(
            f"`{name}` is not a valid name of an annotation file; it must be"
            " annotation.{token}.json, where the token is the part that stands for the split in"
            " the names of the shards, such as train or dev"
        )
    return match[1]


def split_stream_names(value: object) -> object:
    """Split a text such as `pose+dino` at `+` into names; return other values unchanged."""
    # The choices of a sweep are plain values, so a selection of streams is written as a text.
    return tuple(value.split("+")) if isinstance(value, str) else value


class StreamsFeaturesConfig(StrictConfig):
    """Precomputed streams of a corpus that has several, used without further computation."""

    kind: Literal["streams"] = Field(description="Kind of features: several precomputed streams.")
    streams: Annotated[tuple[StreamName, ...], BeforeValidator(split_stream_names)] = Field(
        (),
        description="Selected streams of the source, in the order in which they are fused; a list,"
        " or a text such as `pose+dino`. Default: all.",
    )

    @model_validator(mode="after")
    def _check_streams_once(self) -> "StreamsFeaturesConfig":
        """Check that no stream is listed twice."""
        if len(set(self.streams)) < len(self.streams):
            raise ValueError(f"`streams` lists a stream twice: {', '.join(self.streams)}")
        return self


def fill_in_stream_names(raw_recipe: Any) -> Any:
    """Return a recipe with the names of all streams of its source if its features select none.

    The recipe that is saved with a run then lists the streams that it used.

    Args:
        raw_recipe: Input of a validator, which may have any type.

    Returns:
        The input, changed only if its features are of kind `streams` and select none.
    """
    features = raw_recipe.get("features") if isinstance(raw_recipe, Mapping) else None
    if isinstance(features, StreamsFeaturesConfig):
        features = features.model_dump()
    if not isinstance(features, Mapping) or features.get("kind") != "streams":
        return raw_recipe
    if features.get("streams"):
        return raw_recipe
    stream_names = _get_stream_names(raw_recipe.get("source"))
    return {**raw_recipe, "features": {**features, "streams": stream_names}}


def _get_stream_names(source: Any) -> tuple[str, ...]:
    """Return the stream names of a source that is not validated yet, without malformed streams.

    The names are those of the first corpus if the source is a list of corpora.
    """
    if isinstance(source, Mapping):
        corpora, streams = source.get("corpora"), source.get("streams")
    elif isinstance(source, list | tuple):
        corpora, streams = source, None
    else:
        corpora, streams = getattr(source, "corpora", None), getattr(source, "streams", None)
    # All corpora of a list must have the selected streams, so the first one decides.
    if corpora:
        return _get_stream_names(corpora[0])
    # The streams may be validated already if the recipe was built in Python.
    raw_streams = [
        vars(stream) if isinstance(stream, ShardStreamConfig) else stream
        for stream in streams or ()
    ]
    names = [stream.get("name") for stream in raw_streams if isinstance(stream, Mapping)]
    return tuple(name for name in names if isinstance(name, str))
