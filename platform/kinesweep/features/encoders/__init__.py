"""Video encoders, selected by `kind` from the table below.

`build_video_encoder` caches up to two encoders per process. The fingerprint of an encoder covers
the content of its files, not their location.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from kinesweep.config.recipe.video import SignHieraEncoderConfig, VideoEncoderConfig
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import compute_file_sha256, compute_fingerprint
from kinesweep.core.paths import is_local_path
from kinesweep.features.encoders.contract import VideoEncoder

__all__ = [
    "VideoEncoder",
    "build_video_encoder",
    "compute_encoder_fingerprint",
    "list_encoder_files",
]

# Files of a saved model that determine its features. Only these are downloaded and hashed.
_MODEL_FILES = (
    *("config.json", "processor_config.json", "preprocessor_config.json"),
    *("video_preprocessor_config.json", "model.safetensors.index.json", "*.safetensors"),
)


@lru_cache(maxsize=2)
def build_video_encoder(config: VideoEncoderConfig, precision: str, device: str) -> VideoEncoder:
    """Build the video encoder that `config.kind` names and load its weights, or return it cached.

    Each process caches the two encoders that it used last.

    Args:
        config: Config of the encoder.
        precision: Arithmetic precision, `fp32`, `bf16` or `fp16`.
        device: Name of a torch device, for example `cuda`.

    Raises:
        InputError: If the file or folder does not exist or holds an unsupported model.
        CheckpointError: If weights do not fit the model; the message names the keys.
    """
    return _ENCODERS[config.kind](config, precision, torch.device(device))


def list_encoder_files(config: VideoEncoderConfig) -> list[Path]:
    """List the files that determine the features of an encoder, in a fixed order.

    The files of a hub model are downloaded to the cache.

    Raises:
        InputError: If the files do not exist or cannot be downloaded.
    """
    if isinstance(config, SignHieraEncoderConfig):
        path = Path(config.checkpoint)
        if not path.is_file():
            raise InputError(
                f"`features.encoder.checkpoint` is `{path}`, but there is no such file"
            )
        return [path]
    folder = _resolve_model_dir(config.pretrained)
    paths = [path for pattern in _MODEL_FILES for path in sorted(folder.glob(pattern))]
    if not paths:
        raise InputError(
            f"`features.encoder.pretrained` is `{folder}`, which does not contain a saved model;"
            " give a folder written by `save_pretrained`"
        )
    return paths


def _resolve_model_dir(name: str) -> Path:
    """Return the folder of a saved model; a hub model is downloaded to the cache.

    Args:
        name: Local folder or hub id.

    Raises:
        InputError: If there is no such folder, or the hub model cannot be downloaded.
    """
    if Path(name).is_dir():
        return Path(name)
    # A mistyped path must not become a request to the hub, whose error would be misleading.
    if is_local_path(name):
        raise InputError(f"`features.encoder.pretrained` is `{name}`, but there is no such folder")
    try:
        return Path(snapshot_download(name, allow_patterns=list(_MODEL_FILES)))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"`features.encoder.pretrained` is `{name}`, which is not a local folder and cannot be"
            f" downloaded from the hub: {reason}"
        ) from None


def compute_encoder_fingerprint(config: VideoEncoderConfig) -> str:
    """Compute a hash of an encoder's settings and of the content of its files.

    The files of a hub model are downloaded to the cache.

    Raises:
        InputError: If the files do not exist or cannot be downloaded.
    """
    file_hashes = [
        _hash_cached_file(path, path.stat().st_mtime_ns, path.stat().st_size)
        for path in list_encoder_files(config)
    ]
    settings = config.model_dump(mode="json", exclude={"checkpoint", "pretrained"})
    return compute_fingerprint([settings, file_hashes])


@lru_cache(maxsize=256)
def _hash_cached_file(path: Path, modified_ns: int, num_bytes: int) -> str:
    """Compute the SHA-256 of a file; it is cached until the size or modification time changes."""
    return compute_file_sha256(path)


def _build_signhiera(config: Any, precision: Any, device: torch.device) -> VideoEncoder:
    """Build a SignHiera encoder with loaded weights."""
    from kinesweep.features.encoders.signhiera_encoder import SignHieraEncoder

    return SignHieraEncoder.from_config(config, precision, device)


def _build_hf_vision(config: Any, precision: Any, device: torch.device) -> VideoEncoder:
    """Build the encoder of a Hugging Face vision model with loaded weights."""
    from kinesweep.features.encoders.hf_vision import HfVisionEncoder

    return HfVisionEncoder.from_config(config, precision, device)


_ENCODERS: Mapping[str, Callable[[Any, Any, torch.device], VideoEncoder]] = {
    "signhiera": _build_signhiera,
    "hf_vision": _build_hf_vision,
}
