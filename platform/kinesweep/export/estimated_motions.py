"""Joints of videos given to `translate`, estimated as those of the training data were.

The code of an estimator is not in a bundle. An installed plug-in runs as it is; any other estimator
would run code that somebody else's bundle names, so whoever translates must give its file. A given
estimator must have the fingerprint of the one that the model was trained with: its version, its
settings and the content of its files.
"""

import atexit
import hashlib
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kinesweep.config.recipe.skeletons import SkeletonsConfig
from kinesweep.config.recipe.source import CorporaConfig, SingleSourceConfig, SourceConfig
from kinesweep.config.recipe.sources.estimators import JointEstimatorConfig, PluginEstimatorConfig
from kinesweep.core.errors import InputError
from kinesweep.core.units import Span
from kinesweep.core.video_files import is_video_file
from kinesweep.features.estimators.smpl.configured import (
    build_estimator_spec,
    compute_estimator_fingerprint,
)
from kinesweep.features.estimators.subprocess_worker import EstimatorProcess
from kinesweep.sources.base import SkeletonMotion
from kinesweep.sources.skeletons.array_meaning import ArrayMeaning
from kinesweep.sources.skeletons.motion_file import read_single_motion
from kinesweep.sources.video.video_reader import has_images


@dataclass(frozen=True)
class WithheldEstimator:
    """An estimator that a bundle names, but that nobody has allowed to run.

    Attributes:
        kind: Kind of the estimator.
    """

    kind: str


def reads_videos(source: SingleSourceConfig) -> bool:
    """Return whether a model of motions also translates videos, with an estimator of joints."""
    # Poses of a corpus of videos are estimated before the extraction, not by the bundle.
    return isinstance(source, SkeletonsConfig) and source.estimator is not None


def is_video(path: Path) -> bool:
    """Return whether a path leads to a video: a video file or a folder of images."""
    return has_images(path) if path.is_dir() else is_video_file(path.name)


def choose_estimator(source: SourceConfig, given: JointEstimatorConfig | None) -> SourceConfig:
    """Return the source of a bundle's recipe with the estimator that may run in each corpus.

    Args:
        source: Source of the recipe of the bundle.
        given: Estimator that whoever translates has given, or None.

    Raises:
        InputError: If the model has no estimator, or the given one estimates other joints.
    """
    corpora = source.corpora if isinstance(source, CorporaConfig) else (source,)
    if not any(map(reads_videos, corpora)):
        if given is not None:
            raise InputError(
                "this model was not trained on estimated joints; omit `--estimator`, and give files"
                " like those of its training"
            )
        return source
    chosen = tuple(_replace_estimator(corpus, given) for corpus in corpora)
    if isinstance(source, CorporaConfig):
        return source.model_copy(update={"corpora": chosen})
    return chosen[0]


def read_motion(
    source: SkeletonsConfig, file: Path, span: Span, reference: Path | None
) -> SkeletonMotion:
    """Read a motion and, if a path is given, its reference motion; either may be a video.

    Args:
        source: Corpus that the model was trained on, with the skeleton and the frame rate.
        file: Path of the motion.
        span: Part of the motion to read; the reference motion is read whole.
        reference: Path of the reference motion.

    Raises:
        ClipError: If one of the files cannot be read.
        InputError: If the two motions have different points or numbers of coordinates, or the
            estimator of their joints must be given.
    """
    meaning = ArrayMeaning.from_config(source)
    motion = read_single_motion(_find_motion_file(source, file), span, meaning)
    if reference is None:
        return SkeletonMotion(motion)
    reference_motion = read_single_motion(_find_motion_file(source, reference), Span(), meaning)
    num_coordinates = motion.points_TPJC.shape[3]
    if (
        motion.layout != reference_motion.layout
        or num_coordinates != reference_motion.points_TPJC.shape[3]
    ):
        raise InputError(
            f"`{reference}` does not have the same points as `{file}`, so they cannot be"
            " compared; give a file with the same skeleton and the same number of coordinates"
        )
    return SkeletonMotion(motion, reference_motion)


def _find_motion_file(source: SkeletonsConfig, file: Path) -> Path:
    """Return the path of a motion: the file itself, or the joints estimated from a video."""
    return _estimate_joints(source, file) if reads_videos(source) and is_video(file) else file


def _estimate_joints(source: SkeletonsConfig, video: Path) -> Path:
    """Estimate the joints of a video, once per process, and return the path of their `.pose` file.

    Args:
        source: Corpus that the model was trained on, with the estimator that may run.
        video: Video file or folder of images.

    Raises:
        InputError: If the estimator must be given, or lacks a file.
        ClipError: If the video cannot be used.
        ResourceError: If the environment of the estimator cannot be created.
    """
    estimator = source.estimator
    if isinstance(estimator, WithheldEstimator):
        raise InputError(
            f"`{video}`: this model reads joints of a video that an estimator of kind"
            f" {estimator.kind} finds, and a bundle does not contain it; give its section of the"
            " training recipe with `--estimator FILE.yaml`, or estimate the joints first"
            " (`kinesweep estimate-poses`)"
        )
    assert estimator is not None
    path = video.absolute()
    stat = path.stat()
    # Size and time are part of the name, so a changed video is estimated again.
    name = hashlib.sha256(f"{path} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()
    process, folder = _start_estimator(estimator.model_dump_json())
    output = folder / f"{name}.pose"
    if not output.is_file():
        # At the rate of the training data, like the motions of the corpus.
        process(path, output, source.fps)
    return output


# Loading HybrIK takes seconds; a process serves all videos of a call.
@lru_cache(maxsize=4)
def _start_estimator(section: str) -> tuple[EstimatorProcess, Path]:
    """Start the process of an estimator, which ends with this one, and a folder for its joints.

    Args:
        section: Settings of the estimator as JSON, which can be a key of the cache.
    """
    from kinesweep.config.recipe.sources.estimators import EstimatorFile

    config = EstimatorFile.model_validate_json(f'{{"estimator": {section}}}').estimator
    process = EstimatorProcess(build_estimator_spec(config))
    folder = tempfile.TemporaryDirectory(prefix="kinesweep-joints-")
    # Handlers run in reverse order: the process ends before its folder is removed.
    atexit.register(folder.cleanup)
    atexit.register(process.close)
    return process, Path(folder.name)


def _check_same_estimator(corpus: SingleSourceConfig, given: JointEstimatorConfig) -> None:
    """Check that a given estimator estimates the joints that a model was trained on.

    Raises:
        InputError: If its fingerprint differs, or one of its files is missing.
    """
    assert isinstance(corpus, SkeletonsConfig) and corpus.estimator is not None
    trained = compute_estimator_fingerprint(corpus.estimator)
    spec = build_estimator_spec(given)
    # Joints of another estimator have other offsets and noise, which the model has not learned.
    if spec.fingerprint != trained:
        raise InputError(
            f"`--estimator` is {spec.name} {spec.version} ({spec.fingerprint}), but the model was"
            f" trained on joints of another one ({corpus.estimator.kind}, {trained}): kind,"
            " version, settings and the content of the files must be equal"
        )


def _replace_estimator(
    corpus: SingleSourceConfig, given: JointEstimatorConfig | None
) -> SingleSourceConfig:
    """Return a corpus with the estimator that may run; a corpus without one remains as it is.

    Raises:
        InputError: If the given estimator estimates other joints.
    """
    if not reads_videos(corpus):
        return corpus
    assert isinstance(corpus, SkeletonsConfig) and corpus.estimator is not None
    allowed: object = given
    if given is not None:
        _check_same_estimator(corpus, given)
    elif isinstance(corpus.estimator, PluginEstimatorConfig):
        # Whoever installed a plug-in has decided to run its code.
        allowed = corpus.estimator
    else:
        allowed = WithheldEstimator(corpus.estimator.kind)
    return corpus.model_copy(update={"estimator": allowed})
