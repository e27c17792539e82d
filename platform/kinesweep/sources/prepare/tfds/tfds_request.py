"""The request for a corpus of `sign-language-datasets`, built from a person's settings.

Arguments of builders may be passwords, so they can be read from environment variables, and they are
no part of the settings that are written beside the media files.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kinesweep.config.suggestions import suggest_closest_word
from kinesweep.core.errors import InputError
from kinesweep.core.hashing import compute_fingerprint
from kinesweep.sources.prepare.media.split_names import SPLIT_BY_NAME
from kinesweep.sources.prepare.tfds.tfds_corpora import (
    PACKAGE_VERSION,
    TFDS_CORPORA,
    UNAVAILABLE_CORPORA,
    TfdsCorpus,
)

_ENVIRONMENT_PREFIX = "env:"


@dataclass(frozen=True)
class TfdsSettings:
    """The user's settings for the preparation of a corpus.

    Attributes:
        media: `poses` or `videos`.
        pose_type: Pose estimator whose poses are used, or None for the default of the corpus.
        fps: Frame rate that poses are thinned out to, or None for their own.
        config_name: Name of the configuration in the data folder, or None for one that is made from
            the settings. If the package has a configuration of this name, it is used as it is.
        config: Further attributes of the configuration.
        builder_options: Arguments of the builder, such as tokens; `env:NAME` stands for the value
            of an environment variable.
        text_field: Field of the text, or None for that of the corpus.
        data_dir: Data folder of TensorFlow Datasets, or None for its default.
        limit: Largest number of rows of a split, or None for all.
    """

    media: Literal["poses", "videos"] = "poses"
    pose_type: str | None = None
    fps: float | None = None
    config_name: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    builder_options: Mapping[str, str] = field(default_factory=dict)
    text_field: str | None = None
    data_dir: Path | None = None
    limit: int | None = None


def find_tfds_corpus(name: str) -> TfdsCorpus:
    """Find a corpus by its name or by the name of its builder.

    Raises:
        InputError: If there is none, or it contains nothing that can be prepared.
    """
    if name in UNAVAILABLE_CORPORA:
        raise InputError(f"`{name}` cannot be prepared from TFDS: {UNAVAILABLE_CORPORA[name]}")
    by_builder = {corpus.builder: corpus for corpus in TFDS_CORPORA.values()}
    corpus = TFDS_CORPORA.get(name) or by_builder.get(name)
    if corpus is None:
        hint = suggest_closest_word(name, list(TFDS_CORPORA))
        raise InputError(
            f"`sign-language-datasets` has no corpus `{name}`{hint}; available:"
            f" {', '.join(TFDS_CORPORA)}"
        )
    return corpus


def build_request(corpus: TfdsCorpus, settings: TfdsSettings, out: Path) -> dict[str, Any]:
    """Build the request that the process with TensorFlow Datasets reads.

    Args:
        corpus: Corpus to write.
        settings: A person's settings.
        out: Folder of the corpus.

    Raises:
        InputError: If the corpus has no such media or poses, or an environment variable is not set.
    """
    config = _build_config(corpus, settings)
    # A folder of TensorFlow Datasets is found by the name alone, so other settings need another.
    name = f"kinesweep-{config['include_pose'] or settings.media}-{compute_fingerprint(config)[:8]}"
    # Read here, so that a missing variable is reported before the process starts.
    options = {key: _read_option(key, value) for key, value in settings.builder_options.items()}
    return {
        "builder": corpus.builder,
        "config_name": settings.config_name or name,
        "config": config,
        "builder_options": options,
        "data_dir": str(settings.data_dir.absolute()) if settings.data_dir else None,
        "out": str(out.absolute()),
        "limit": settings.limit,
        "split_by_name": SPLIT_BY_NAME,
        "path_fields": corpus.pose_paths if settings.media == "poses" else corpus.video_fields,
        "annotations": corpus.builder if corpus.layout == "sentences" else None,
    }


def get_media_settings(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a request that its media files depend on."""
    keys = ("builder", "config_name", "config", "path_fields")
    return {"package": PACKAGE_VERSION, **{key: request[key] for key in keys}}


def parse_config_value(text: str) -> Any:
    """Parse the value of a configuration's attribute: JSON, or else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _build_config(corpus: TfdsCorpus, settings: TfdsSettings) -> dict[str, Any]:
    """Build the attributes of the builder's configuration.

    Raises:
        InputError: If the corpus has no such media or poses.
    """
    has_videos = settings.media == "videos"
    if has_videos and not corpus.video_fields:
        raise InputError(
            f"`{corpus.builder}` gives no video files; use `--media poses`, or videos of your own"
            " with `kinesweep estimate-poses`"
        )
    if not has_videos and not corpus.pose_types:
        raise InputError(f"`{corpus.builder}` has no poses; use `--media videos`")
    pose_type = None if has_videos else settings.pose_type or corpus.pose_types[0]
    if pose_type is not None and pose_type not in corpus.pose_types:
        raise InputError(
            f"`{corpus.builder}` has no poses of `{pose_type}`; available:"
            f" {', '.join(corpus.pose_types)}"
        )
    config: dict[str, Any] = {
        "include_video": has_videos,
        "process_video": False,
        "include_pose": pose_type,
        **corpus.config,
        **settings.config,
    }
    if settings.fps is not None:
        config["fps"] = settings.fps
    if corpus.builder == "dgs_corpus":
        # The package has a published split for each type of data; without one, all is train.
        config.setdefault("split", f"3.0.0-uzh-{config['data_type']}")
    return config


def _read_option(key: str, value: str) -> str:
    """Return the value of a builder's option, which may be in an environment variable.

    Raises:
        InputError: If the variable is not set.
    """
    if not value.startswith(_ENVIRONMENT_PREFIX):
        return value
    name = value.removeprefix(_ENVIRONMENT_PREFIX)
    if not re.fullmatch(r"\w+", name) or name not in os.environ:
        raise InputError(
            f"`--builder-option {key}` names the environment variable `{name}`, which is not set;"
            " set it or give the value itself"
        )
    return os.environ[name]
