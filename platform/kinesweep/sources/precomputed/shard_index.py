"""The map from videos to shards: the `metadata_*.json` of a stream and split.

Each stream of a corpus has one such file per split. Shard names become part of a path, so only
numbers and plain words are accepted.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kinesweep.sources.json_file import read_json_object
from kinesweep.sources.tsv.tsv_reader import TableError

SHARED_PREFIX = "dino"
"""Prefix of the files of every stream in the published tree."""
SHARD_SUFFIX = ".h5"
_SHARD_PATTERN = re.compile(r"[\w-]+")


def format_shard_name(prefix: str, token: str, shard: str) -> str:
    """Format the file name of a shard as `{prefix}.{token}.{shard}.h5`.

    Args:
        prefix: Prefix of the files of a stream.
        token: Token of the split.
        shard: Number or name of the shard.
    """
    return f"{prefix}.{token}.{shard}{SHARD_SUFFIX}"


def format_metadata_name(prefix: str, token: str) -> str:
    """Format the name of the file that maps videos to shards as `metadata_{prefix}.{token}.json`.

    Args:
        prefix: Prefix of the files of a stream.
        token: Token of the split.
    """
    return f"metadata_{prefix}.{token}.json"


@dataclass(frozen=True)
class ShardMap:
    """The shards of the videos of one stream and split.

    Attributes:
        stream: Name of the feature stream.
        path: Path of the metadata file.
        folder: Folder of the shards, relative to the corpus root.
        prefix: Prefix of the file names.
        token: Token of the split in the file names.
        shards: Number or name of the shard by video.
    """

    stream: str
    path: Path
    folder: str
    prefix: str
    token: str
    shards: dict[str, str]

    def get_shard_path(self, video: str) -> str:
        """Return the path of a video's shard relative to the corpus root.

        Raises:
            KeyError: If the video has no shard.
        """
        name = format_shard_name(self.prefix, self.token, self.shards[video])
        return PurePosixPath(self.folder, name).as_posix()


def read_shard_map(
    root: Path, stream: str, folder: str, token: str
) -> tuple[ShardMap, list[TableError]]:
    """Read the shard map of a stream for one split, and return it with the errors in its file.

    If the file cannot be read, the map contains no videos.

    Args:
        root: Root folder of the corpus.
        stream: Name of the stream, which is tried as file prefix before `dino`.
        folder: Folder of the stream, relative to the root.
        token: Token of the split in the file names.
    """
    # The stream's own prefix comes first: a folder may contain files with either prefix.
    existing_prefixes = [
        prefix
        for prefix in (stream, SHARED_PREFIX)
        if (root / folder / format_metadata_name(prefix, token)).is_file()
    ]
    prefix = existing_prefixes[0] if existing_prefixes else stream
    path = root / folder / format_metadata_name(prefix, token)
    name = f"{folder}/{path.name}"
    if not existing_prefixes:
        shared_name = format_metadata_name(SHARED_PREFIX, token)
        hint = f", nor does `{shared_name}` beside it" if shared_name != path.name else ""
        text = f"stream `{stream}`: `{path}` does not exist{hint}"
        return ShardMap(stream, path, folder, prefix, token, {}), [(name, text)]
    videos, errors = read_json_object(path, name)
    errors += [(name, f"video `{video}` appears more than once") for video in videos.repeated_keys]
    shards = {}
    for video, shard in videos.items():
        # `bool` is a subclass of `int`.
        is_int_or_str = isinstance(shard, int | str) and not isinstance(shard, bool)
        if is_int_or_str and _SHARD_PATTERN.fullmatch(str(shard)):
            shards[video] = str(shard)
        else:
            text = f"the shard of a video must be a number or a plain word, but is {shard!r}"
            errors.append((f"{name}:{video}", text))
    return ShardMap(stream, path, folder, prefix, token, shards), errors
