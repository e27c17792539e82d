"""In which shard the features of a video lie: the `metadata_*.json` of a stream and split.

Every stream of a corpus has one for each split. What it says of shards becomes part of a path, so
only numbers and plain words are taken.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kinesweep.sources.json_file import read_object
from kinesweep.sources.table import Fault

SHARED_PREFIX = "dino"
"""What the published tree calls the files of every stream."""
SHARD_SUFFIX = ".h5"
_SHARD = re.compile(r"[\w-]+")


def shard_name(prefix: str, token: str, shard: str) -> str:
    """Name of a shard's file."""
    return f"{prefix}.{token}.{shard}{SHARD_SUFFIX}"


def metadata_name(prefix: str, token: str) -> str:
    """Name of the file that says which video is in which shard."""
    return f"metadata_{prefix}.{token}.json"


@dataclass(frozen=True)
class ShardMap:
    """Where the videos of a stream and split are.

    Attributes:
        stream: whose features.
        path: the metadata's file.
        folder: of the shards, below the corpus root.
        prefix: which the files' names begin with.
        token: the split in the files' names.
        shards: video → shard.
    """

    stream: str
    path: Path
    folder: str
    prefix: str
    token: str
    shards: dict[str, str]

    def media(self, video: str) -> str:
        """The shard's file of a video, below the corpus root."""
        name = shard_name(self.prefix, self.token, self.shards[video])
        return PurePosixPath(self.folder, name).as_posix()


def read_map(root: Path, stream: str, folder: str, token: str) -> tuple[ShardMap, list[Fault]]:
    """Reads a stream's metadata of a split, and all that is wrong with it.

    Args:
        root: of the corpus.
        stream: its name, which the file is called after; else it is called after `dino`.
        folder: of the stream, below the root.
        token: the split in the files' names.
    """
    found = [
        prefix
        for prefix in (stream, SHARED_PREFIX)
        if (root / folder / metadata_name(prefix, token)).is_file()
    ]
    prefix = found[0] if found else stream
    path = root / folder / metadata_name(prefix, token)
    name = f"{folder}/{path.name}"
    if not found:
        other = metadata_name(SHARED_PREFIX, token)
        beside = f", nor does `{other}` beside it" if other != path.name else ""
        text = f"stream `{stream}`: `{path}` does not exist{beside}"
        return ShardMap(stream, path, folder, prefix, token, {}), [(name, text)]
    videos, faults = read_object(path, name)
    faults += [(name, f"video `{video}` is there more than once") for video in videos.repeated]
    shards = {}
    for video, shard in videos.items():
        plain = isinstance(shard, int | str) and not isinstance(shard, bool)
        if plain and _SHARD.fullmatch(str(shard)):
            shards[video] = str(shard)
        else:
            text = f"the shard of a video must be a number, but is {shard!r}"
            faults.append((f"{name}:{video}", text))
    return ShardMap(stream, path, folder, prefix, token, shards), faults
