"""The features of raw files, equal to those that a store would contain.

A file passes through the same reader, feature step and rounding as during extraction. Files with
other points than the training data are rejected: a model would translate them without noticing.

Shapes: T frames, D width.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kinesweep.config.recipe.source import FeaturesConfig, SingleSourceConfig
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.errors import BundleError, ClipError
from kinesweep.core.schema import StreamSchema
from kinesweep.core.system.devices import AUTO_DEVICE, select_device
from kinesweep.core.video_files import VideoSegment
from kinesweep.export.part_inputs import RawParts, make_path_input
from kinesweep.export.raw_inputs import Input, read_raw_file
from kinesweep.export.training_rate import check_training_rate
from kinesweep.features import Features, build_features
from kinesweep.features.signer_crop.warnings import find_signer_warnings, get_signer_crop
from kinesweep.sources.video.video_warnings import find_video_warnings
from kinesweep.store.format.dtype import round_to_store_dtype

logger = logging.getLogger(__name__)


def compute_raw_features(
    item: Input,
    source: SingleSourceConfig,
    features_config: FeaturesConfig,
    metadata: Mapping[str, Any],
    accept_rate: bool = False,
    device: str = AUTO_DEVICE,
) -> dict[str, Features]:
    """Compute the features of an input, with their frame rates, as a store would contain them.

    Args:
        item: Clip to translate.
        source: Corpus that the model was trained on; the first one if there were several.
        features_config: Features of the model.
        metadata: Content of the bundle's `features.json`: the stored dtype, and the schema of each
            feature stream in the training data.
        accept_rate: Whether to accept a file with another frame rate than the training data.
        device: Name of the device of a video model, whatever the recipe's `features.gpus` is.

    Returns:
        Feature stream → features, (T, D).

    Raises:
        ClipError: If the file cannot be used; the message names it. The reason is `other_rate` if
            its frame rate differs from those of the training data.
        InputError: If the file is of another kind than those of the corpus, or cannot be read as
            requested (see `read_raw_file`).
        BundleError: If its points differ from those of the corpus.
    """
    step = build_features(_place_video_model(features_config, device))
    try:
        if item.read_media is not None:
            media = item.read_media()
        else:
            media = read_raw_file(
                source, features_config, item.file, item.span, item.auxiliary_file
            )
        if isinstance(media, VideoSegment):
            signer_warnings = find_signer_warnings(media, get_signer_crop(features_config))
            for kind, text in [*find_video_warnings(media), *signer_warnings]:
                logger.warning(f"{kind}: {text}")
        rounded_features = {
            name: replace(
                features,
                x_TD=round_to_store_dtype(
                    features.x_TD, features.fixed_dtype or metadata["store_dtype"]
                ),
            )
            for name, features in step.compute_features(media).items()
        }
        stride = getattr(features_config, "stride", 1)
        for name, features in rounded_features.items() if not accept_rate else ():
            schema = StreamSchema.from_json(metadata["streams"][name])
            check_training_rate(features.rate_hz, schema, stride, name)
    except ClipError as error:
        # Readers name the file themselves; feature steps and rounding do not know it.
        reason_text = str(error)
        message = reason_text if str(item.file) in reason_text else f"`{item.file}`: {reason_text}"
        raise ClipError(message, error.reason) from None
    for name, features in rounded_features.items():
        stream_text = f" of `{name}`" if len(rounded_features) > 1 else ""
        schema = StreamSchema.from_json(metadata["streams"][name])
        _check_point_layout(features, schema, item.file, stream_text)
    return rounded_features


def compute_part_features(
    item: Input,
    parts: RawParts,
    metadata: Mapping[str, Any],
    accept_rate: bool = False,
    device: str = AUTO_DEVICE,
) -> dict[str, Features]:
    """Compute the features of an input for a model with several parts of features.

    Args:
        item: Clip to translate; with a single file, each part takes its own from it.
        parts: Parts of the model.
        metadata: Content of the bundle's `features.json`.
        accept_rate: Whether to accept files with another frame rate than the training data.
        device: Name of the device of video models, whatever the recipe's `features.gpus` is.

    Returns:
        Stream → features, (T, D), for the streams of which the clip has a file.

    Raises:
        ClipError: If a file cannot be used; the message names it.
        InputError: If a part finds no file, or a file is of another kind.
        BundleError: If the points of a file differ from those of the corpus.
    """
    streams = item.streams
    if not streams:
        files = make_path_input(item.file, parts).streams
        streams = {name: replace(file, span=item.span) for name, file in files.items()}
    features = {}
    for name, part in parts.items():
        if name in streams:
            # The step of the part has its own name for the stream.
            (stored_name,) = build_features(part.features).streams
            part_metadata = {**metadata, "streams": {stored_name: metadata["streams"][name]}}
            computed = compute_raw_features(
                streams[name], part.source, part.features, part_metadata, accept_rate, device
            )
            features[name] = computed[stored_name]
    return features


def _place_video_model(features: FeaturesConfig, device: str) -> FeaturesConfig:
    """Return the features with their video model, if they have one, on a device.

    The recipe says where a corpus was extracted; a bundle is also used on machines without a GPU.
    """
    if not isinstance(features, VideoFeaturesConfig):
        return features
    gpus = 1.0 if select_device(device).type == "cuda" else 0.0
    return features.model_copy(update={"gpus": gpus})


def _check_point_layout(
    features: Features, schema: StreamSchema, file: Path, stream_text: str
) -> None:
    """Check that the features of a stream have the width and the points of the training data.

    Args:
        features: Features computed from a raw file.
        schema: Schema of the stream in the training data.
        file: Path of the raw file, for the message.
        stream_text: Name of the stream for the message; empty if there is only one.

    Raises:
        BundleError: If the width or the points differ.
    """
    width = features.x_TD.shape[1]
    if width != schema.width:
        raise BundleError(
            f"`{file}` has {width} features per frame{stream_text}, but the model expects"
            f" {schema.width}; it was trained on another point layout"
        )
    # Different points can have the same width, so the names are compared too.
    if schema.layout is not None and features.layout != schema.layout:
        raise BundleError(
            f"`{file}` has the number of points that the model expects, but other points;"
            " the model was trained on another point layout"
        )
