"""The files in a bundle that compute features: a video encoder, an embedder, a tokenizer, a font.

Raw files can be translated only with the weights that computed the training features, so a bundle
contains a copy of them in a subfolder. Features without a network or other files need none.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from kinesweep.config.recipe import Recipe
from kinesweep.config.recipe.features.combined import CombinedFeaturesConfig, RecipeFeaturesConfig
from kinesweep.config.recipe.features.frames import FramesFeaturesConfig
from kinesweep.config.recipe.features.images import ImagesFeaturesConfig
from kinesweep.config.recipe.features.signer_crop import HfDetectorConfig
from kinesweep.config.recipe.features.text import (
    PretrainedTextTokenizerConfig,
    TextFeaturesConfig,
)
from kinesweep.config.recipe.paths import DETECTOR_FOLDER
from kinesweep.config.recipe.skeletons import SkeletonFeaturesConfig
from kinesweep.config.recipe.source import FeaturesConfig
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.export.part_inputs import RawParts, list_raw_parts
from kinesweep.features.signer_crop.warnings import get_signer_crop

_VISION_FOLDER = "vision"
_EMBEDDER_FOLDER = "embedder"
_TOKENIZER_FOLDER = "source_tokenizer"


def use_bundled_encoder(recipe: Recipe, bundle_dir: Path) -> Recipe:
    """Return the recipe of a bundle with paths to the networks in the bundle.

    It takes the whole recipe because it returns a changed one.

    Args:
        recipe: Recipe of the bundle, in which these paths have no folders.
        bundle_dir: Folder of the bundle.
    """
    parts = list_raw_parts(recipe)
    if not parts:
        folder_name = _get_network_folder_name(recipe.single_features)
        return recipe if folder_name is None else recipe.with_encoder_dir(bundle_dir / folder_name)
    for part in parts.values():
        folder_name = _get_network_folder_name(part.features, part.stream)
        if folder_name is not None:
            # By position, because several parts may belong to one stream.
            recipe = recipe.with_encoder_dir(bundle_dir / folder_name, part.position)
    return recipe


def copy_encoder_files(features: RecipeFeaturesConfig, parts: RawParts, bundle_dir: Path) -> None:
    """Copy the files of the networks that compute the features of a model to a bundle.

    Args:
        features: The `features` section, with the paths of the networks.
        parts: Selected parts of the section by stream; empty if it has no parts.
        bundle_dir: Folder of the bundle, in which a subfolder for each network is created.

    Raises:
        InputError: If the files of a video encoder do not exist or cannot be downloaded.
        OSError: If the files of an embedder cannot be read.
    """
    if not isinstance(features, CombinedFeaturesConfig):
        _copy_network(features, bundle_dir, "")
    for part in parts.values():
        _copy_network(part.features, bundle_dir, part.stream)


def _get_network_folder_name(features: FeaturesConfig, stream: str = "") -> str | None:
    """Return the name of the bundle's folder for the network that computes the features.

    The network is the video encoder, the image model or the embedder that aligns reference motions;
    a tokenizer and a font count as well. None if the features are computed without files. The
    folder of a part is named after its stream as well.
    """
    # Bundles of models with one kind of features keep the names of earlier versions.
    suffix = f"_{stream}" if stream else ""
    if isinstance(features, VideoFeaturesConfig) or _get_detector_name(features) is not None:
        return _VISION_FOLDER + suffix
    if isinstance(features, ImagesFeaturesConfig):
        return _VISION_FOLDER + suffix if features.encoder or features.font else None
    if isinstance(features, TextFeaturesConfig):
        has_files = isinstance(features.tokenizer, PretrainedTextTokenizerConfig)
        return _TOKENIZER_FOLDER + suffix if has_files else None
    return None if _get_embedder_dir(features) is None else _EMBEDDER_FOLDER + suffix


def _get_embedder_dir(features: FeaturesConfig) -> str | None:
    """Return the path of the embedder that aligns reference motions; None if they need none."""
    if not isinstance(features, SkeletonFeaturesConfig) or features.reference is None:
        return None
    return features.reference.embedder


def _copy_network(features: FeaturesConfig, bundle_dir: Path, stream: str) -> None:
    """Copy the files of the network that computes the features, if there is one, to a bundle.

    Args:
        features: Features of the model, with the path of the network.
        bundle_dir: Folder of the bundle, in which a subfolder is created.
        stream: Name of the part with the features; empty if there is only one kind.

    Raises:
        InputError: If the files of a video encoder do not exist or cannot be downloaded.
        OSError: If the files of an embedder cannot be read.
    """
    folder_name = _get_network_folder_name(features, stream)
    if folder_name is None:
        return
    (bundle_dir / folder_name).mkdir()
    if not isinstance(features, FramesFeaturesConfig):  # these may have a detector alone
        for path in _list_encoder_files(features):
            shutil.copyfile(path, bundle_dir / folder_name / path.name)
    detector_name = _get_detector_name(features)
    if detector_name is not None:
        from kinesweep.features.signer_crop.hf_detector import list_detector_files

        (bundle_dir / folder_name / DETECTOR_FOLDER).mkdir()
        for path in list_detector_files(detector_name):
            shutil.copyfile(path, bundle_dir / folder_name / DETECTOR_FOLDER / path.name)


def _get_detector_name(features: FeaturesConfig) -> str | None:
    """Return folder or hub id of the detector that finds the signer; None without such files."""
    crop = get_signer_crop(features)
    detector = None if crop is None else crop.detector
    return detector.pretrained if isinstance(detector, HfDetectorConfig) else None


def _list_image_files(features: ImagesFeaturesConfig) -> list[Path]:
    """List the files of the image model and the font, if there are any.

    Raises:
        InputError: If the files of the model do not exist or cannot be downloaded.
    """
    from kinesweep.features.encoders import list_encoder_files

    files = list_encoder_files(features.encoder) if features.encoder is not None else []
    return [*files, *([Path(features.font)] if features.font is not None else [])]


def _list_encoder_files(features: FeaturesConfig) -> Sequence[Path]:
    """List the files of the network that computes the features; there must be such a network.

    Files of a hub model are downloaded to the cache.

    Raises:
        InputError: If the files of a video encoder do not exist or cannot be downloaded.
    """
    if isinstance(features, VideoFeaturesConfig):
        from kinesweep.features.encoders import list_encoder_files

        return list_encoder_files(features.encoder)
    if isinstance(features, ImagesFeaturesConfig):
        return _list_image_files(features)
    if isinstance(features, TextFeaturesConfig):
        from kinesweep.features.texts.source_tokenizers import list_tokenizer_files

        assert isinstance(features.tokenizer, PretrainedTextTokenizerConfig)
        return list_tokenizer_files(features.tokenizer)
    from kinesweep.features.frame_embedder_io import DESCRIPTION_FILE, WEIGHTS_FILE

    embedder_dir = _get_embedder_dir(features)
    assert embedder_dir is not None
    return [Path(embedder_dir) / DESCRIPTION_FILE, Path(embedder_dir) / WEIGHTS_FILE]
