"""Video encoders, selected by `kind` from the table below.

`build_encoder` caches up to two encoders per process. The fingerprint of an encoder covers the
content of its files, not their location.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from kinesweep.config.recipe.video import SignHieraConfig, VideoEncoderConfig
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import file_sha256, fingerprint
from kinesweep.features.encoders.contract import VideoEncoder

__all__ = ["VideoEncoder", "build_encoder", "encoder_files", "encoder_fingerprint"]

# Files of a saved model that determine its features. Only these are downloaded and hashed.
_WANTED = (
    *("config.json", "processor_config.json", "preprocessor_config.json"),
    *("video_preprocessor_config.json", "model.safetensors.index.json", "*.safetensors"),
)


@lru_cache(maxsize=2)
def build_encoder(config: VideoEncoderConfig, precision: str, device: str) -> VideoEncoder:
    """Build the video encoder that `config.kind` names and load its weights.

    Args:
        config: Configuration of the encoder.
        precision: Arithmetic precision, `fp32` or `bf16`.
        device: Name of a torch device, for example `cuda`.

    Raises:
        InputError: If the file or folder does not exist or holds an unsupported model.
        CheckpointError: If weights do not fit the model; the message names the keys.
    """
    return _ENCODERS[config.kind](config, precision, torch.device(device))


def encoder_files(config: VideoEncoderConfig) -> list[Path]:
    """List the files of an encoder in a stable order; files of a hub model are downloaded.

    Raises:
        InputError: If the files do not exist.
    """
    if isinstance(config, SignHieraConfig):
        path = Path(config.checkpoint)
        if not path.is_file():
            raise InputError(
                f"`features.encoder.checkpoint` is `{path}`, but there is no such file"
            )
        return [path]
    folder = _folder(config.pretrained)
    found = [path for pattern in _WANTED for path in sorted(folder.glob(pattern))]
    if not found:
        raise InputError(
            f"`features.encoder.pretrained` is `{folder}`, which does not contain a saved model;"
            " give a folder written by `save_pretrained`"
        )
    return found


def _folder(name: str) -> Path:
    """Return the folder of a saved model: a local folder, or the cached copy of a hub model."""
    if Path(name).is_dir():
        return Path(name)
    # A hub id has at most one slash. Anything else is a mistyped path, for which a request to the
    # hub would only give a confusing error.
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"`features.encoder.pretrained` is `{name}`, but there is no such folder")
    try:
        return Path(snapshot_download(name, allow_patterns=list(_WANTED)))
    except (OSError, ValueError, HfHubHTTPError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"`features.encoder.pretrained` is `{name}`, which is not a local folder and cannot be"
            f" downloaded from the hub: {said}"
        ) from None


def encoder_fingerprint(config: VideoEncoderConfig) -> str:
    """Hash the settings of an encoder and the content of its files, but not their location.

    Raises:
        InputError: If the files do not exist.
    """
    files = encoder_files(config)
    marks = [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in files]
    own = config.model_dump(mode="json", exclude={"checkpoint", "pretrained"})
    return fingerprint([own, [_hash(*mark) for mark in marks]])


@lru_cache(maxsize=256)
def _hash(path: Path, changed_ns: int, size: int) -> str:
    """Hash a file; time and size are cache keys, so that a changed file is hashed again."""
    return file_sha256(path)


def _signhiera(config: Any, precision: Any, device: torch.device) -> VideoEncoder:
    from kinesweep.features.encoders.signhiera_encoder import SignHieraEncoder

    return SignHieraEncoder.from_config(config, precision, device)


def _hf_vision(config: Any, precision: Any, device: torch.device) -> VideoEncoder:
    from kinesweep.features.encoders.hf_vision import VisionEncoder

    return VisionEncoder.from_config(config, precision, device)


_ENCODERS: Mapping[str, Callable[[Any, Any, torch.device], VideoEncoder]] = {
    "signhiera": _signhiera,
    "hf_vision": _hf_vision,
}
