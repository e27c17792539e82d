"""Video models by `kind`, from the table below; a process loads each one once."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from kinesweep.core.errors import InputError
from kinesweep.core.hashing import file_sha256, fingerprint
from kinesweep.core.recipe.video import SignHieraConfig, VideoEncoderConfig
from kinesweep.features.encoders.contract import VideoEncoder

__all__ = ["VideoEncoder", "build_encoder", "encoder_files", "encoder_fingerprint"]

_OF_FOLDERS = ("config.json", "preprocessor_config.json")
_WEIGHTS = ".safetensors"


@lru_cache(maxsize=2)
def build_encoder(config: VideoEncoderConfig, precision: str, device: str) -> VideoEncoder:
    """The video model that `config.kind` names, its weights loaded.

    Raises:
        InputError: there is no such file or folder, or it is of a kind that cannot be used.
        CheckpointError: weights that do not fit; the keys are named.
    """
    return _ENCODERS[config.kind](config, precision, torch.device(device))


def encoder_files(config: VideoEncoderConfig) -> list[Path]:
    """The files that make an encoder, in order; none where it is a hub's id.

    Raises:
        InputError: a checkpoint that is not there.
    """
    if isinstance(config, SignHieraConfig):
        path = Path(config.checkpoint)
        if not path.is_file():
            raise InputError(f"`features.encoder.checkpoint` is `{path}`, which is not a file")
        return [path]
    folder = Path(config.pretrained)
    found = [folder / name for name in _OF_FOLDERS if (folder / name).is_file()]
    return [*found, *sorted(folder.glob(f"*{_WEIGHTS}"))]


def encoder_fingerprint(config: VideoEncoderConfig) -> str:
    """Names what an encoder computes: its settings and the content of its files, not their place.

    Raises:
        InputError: a checkpoint that is not there.
    """
    files = encoder_files(config)
    marks = [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in files]
    own = config.model_dump(mode="json", exclude={"checkpoint", "pretrained"})
    hashes = [_hash(*mark) for mark in marks]
    name = getattr(config, "pretrained", "") if not files else ""
    return fingerprint([own, hashes, name])


@lru_cache(maxsize=256)
def _hash(path: Path, changed_ns: int, size: int) -> str:
    """Of a file that has not changed since."""
    return file_sha256(path)


def _signhiera(config: Any, precision: str, device: torch.device) -> VideoEncoder:
    from kinesweep.features.encoders.signs import SignHieraEncoder

    return SignHieraEncoder.from_config(config, precision, device)


def _hf_vision(config: Any, precision: str, device: torch.device) -> VideoEncoder:
    from kinesweep.features.encoders.hf_vision import VisionEncoder

    return VisionEncoder.from_config(config, precision, device)


_ENCODERS: Mapping[str, Callable[[Any, str, torch.device], VideoEncoder]] = {
    "signhiera": _signhiera,
    "hf_vision": _hf_vision,
}
