"""Video models by `kind`, from the table below; a process loads each one once."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from kinesweep.core.errors import InputError
from kinesweep.core.hashing import file_sha256, fingerprint
from kinesweep.core.recipe.video import SignHieraConfig, VideoEncoderConfig
from kinesweep.features.encoders.contract import VideoEncoder

__all__ = ["VideoEncoder", "build_encoder", "encoder_files", "encoder_fingerprint"]

_WANTED = (
    *("config.json", "processor_config.json", "preprocessor_config.json"),
    *("video_preprocessor_config.json", "model.safetensors.index.json", "*.safetensors"),
)
"""What of a saved model decides over its features."""


@lru_cache(maxsize=2)
def build_encoder(config: VideoEncoderConfig, precision: str, device: str) -> VideoEncoder:
    """The video model that `config.kind` names, its weights loaded.

    Raises:
        InputError: there is no such file or folder, or it is of a kind that cannot be used.
        CheckpointError: weights that do not fit; the keys are named.
    """
    return _ENCODERS[config.kind](config, precision, torch.device(device))


def encoder_files(config: VideoEncoderConfig) -> list[Path]:
    """The files that make an encoder, in order; a hub's are fetched.

    Raises:
        InputError: they are not there.
    """
    if isinstance(config, SignHieraConfig):
        path = Path(config.checkpoint)
        if not path.is_file():
            raise InputError(f"`features.encoder.checkpoint` is `{path}`, which is not a file")
        return [path]
    folder = _folder(config.pretrained)
    found = [path for pattern in _WANTED for path in sorted(folder.glob(pattern))]
    if not found:
        raise InputError(f"`features.encoder.pretrained` is `{folder}`, which holds no saved model")
    return found


def _folder(name: str) -> Path:
    """Where a saved model lies: a local folder, or the cache of a hub's."""
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"`features.encoder.pretrained` is `{name}`, but there is no such folder")
    try:
        return Path(snapshot_download(name, allow_patterns=list(_WANTED)))
    except (OSError, ValueError, HfHubHTTPError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"`features.encoder.pretrained` is `{name}`, which is no folder here, and no hub gives"
            f" it: {said}"
        ) from None


def encoder_fingerprint(config: VideoEncoderConfig) -> str:
    """Names what an encoder computes: its settings and the content of its files, not their place.

    Raises:
        InputError: a checkpoint that is not there.
    """
    files = encoder_files(config)
    marks = [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in files]
    own = config.model_dump(mode="json", exclude={"checkpoint", "pretrained"})
    return fingerprint([own, [_hash(*mark) for mark in marks]])


@lru_cache(maxsize=256)
def _hash(path: Path, changed_ns: int, size: int) -> str:
    """Of a file that has not changed since."""
    return file_sha256(path)


def _signhiera(config: Any, precision: Any, device: torch.device) -> VideoEncoder:
    from kinesweep.features.encoders.signs import SignHieraEncoder

    return SignHieraEncoder.from_config(config, precision, device)


def _hf_vision(config: Any, precision: Any, device: torch.device) -> VideoEncoder:
    from kinesweep.features.encoders.hf_vision import VisionEncoder

    return VisionEncoder.from_config(config, precision, device)


_ENCODERS: Mapping[str, Callable[[Any, Any, torch.device], VideoEncoder]] = {
    "signhiera": _signhiera,
    "hf_vision": _hf_vision,
}
