"""HDF5 files with the feature streams of a single clip, which users pass to `kinesweep translate`.

Such a file contains one data set (T, D) per stream, named after the stream. It does not store the
feature rates, which the recipe states. Shapes: T frames, D width.
"""

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from kinesweep.config.recipe.h5_shards import H5ShardsConfig, ShardStreamConfig
from kinesweep.sources.base import PrecomputedFeatures, PrecomputedStreams
from kinesweep.sources.precomputed.h5_files import ShardFilePool


def read_streams(path: Path, config: H5ShardsConfig) -> PrecomputedStreams:
    """Read the features of a file of a single clip as float32, by stream name.

    Args:
        path: Path of an HDF5 file with one data set (T, D) per stream, named after the stream.
        config: Source configuration with the streams and their rates.

    Raises:
        ClipError: With the reasons of `ShardFilePool.read`; the message names the file.
    """
    files = ShardFilePool()
    try:
        return {
            stream.name: convert_features(files.read(path, stream.name), stream)
            for stream in config.streams
        }
    finally:
        files.close()


def write_streams(path: Path, streams: PrecomputedStreams) -> Path:
    """Write an HDF5 file of a single clip that `read_streams` can read, and return `path`.

    Args:
        path: Path of the file, which is replaced if it exists.
        streams: Features by stream name; their rates are not written.
    """
    with h5py.File(path, "w") as file:
        for name, features in streams.items():
            file[name] = features.x_TD
    return path


def convert_features(x_TD: NDArray[np.floating], stream: ShardStreamConfig) -> PrecomputedFeatures:
    """Return stored features as contiguous float32 together with the rate of their stream."""
    return PrecomputedFeatures(np.ascontiguousarray(x_TD, np.float32), stream.fps)
