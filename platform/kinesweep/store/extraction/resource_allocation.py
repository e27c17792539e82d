"""The allocation of a cluster's CPUs and GPUs to the decoders and encoders of video extraction.

With `features.gpus`, encoders get the GPUs and decoders the CPUs. Without, encoders get half of the
CPUs by default, or `features.actors`. This module only decides and does not use Ray;
`extract_videos` starts the actors.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kinesweep.config.recipe.source import FeaturesConfig
from kinesweep.config.recipe.video import VideoFeaturesConfig
from kinesweep.core.errors import ResourceError
from kinesweep.store.extraction.video_chunks import CLIPS_PER_PIECE


@dataclass(frozen=True)
class ResourceAllocation:
    """The allocation of a cluster's resources to decoders and encoders.

    Attributes:
        num_decoders: Largest number of decoder actors, with one CPU each.
        num_encoders: Number of encoder actors.
        cpus_per_encoder: CPUs per encoder actor; 0 if it runs on GPUs.
    """

    num_decoders: int
    num_encoders: int
    cpus_per_encoder: float


def check_video_device(features: FeaturesConfig) -> None:
    """Check that this process sees a GPU if video features ask for one.

    Args:
        features: Features of any kind.

    Raises:
        ResourceError: If it sees none.
    """
    if isinstance(features, VideoFeaturesConfig):
        # Imports PyTorch, which the other kinds do not need.
        from kinesweep.features.video import VideoFeatures

        VideoFeatures(features).check_device()


def allocate_resources(
    num_clips: int, config: VideoFeaturesConfig, cluster_resources: Mapping[str, float]
) -> ResourceAllocation | None:
    """Allocate the CPUs and GPUs of a cluster to decoders and encoders.

    Args:
        num_clips: Number of clips to compute.
        config: Video features, with the requested GPUs per encoder and number of encoders.
        cluster_resources: Total amount of each resource, as returned by `ray.cluster_resources`.

    Returns:
        The allocation. None if there is nothing to compute, or if the cluster is too small for a
        decoder beside an encoder, so that one process must do both.

    Raises:
        ResourceError: If the cluster has fewer GPUs than one encoder needs.
    """
    num_cpus = int(cluster_resources.get("CPU", 0))
    num_gpus = cluster_resources.get("GPU", 0.0)
    if config.gpus > num_gpus:
        raise ResourceError(
            f"`features.gpus` asks for {config.gpus:g} GPUs, but the cluster has {num_gpus:g}; set"
            " it to 0 to run the video model on CPUs"
        )
    # A decoder takes one CPU; an encoder needs CPUs of its own only without GPUs.
    if not num_clips or num_cpus < (1 if config.gpus else 2):
        return None
    num_pieces = -(-num_clips // CLIPS_PER_PIECE)
    if config.gpus:
        max_encoders = int(num_gpus / config.gpus)
        num_encoders = min(config.actors or max_encoders, max_encoders)
        return ResourceAllocation(min(num_cpus, num_pieces), num_encoders, cpus_per_encoder=0)
    # Without GPUs, encoders get half of the CPUs by default and decoders the rest.
    num_encoders = config.actors or num_cpus // 2
    # One CPU is reserved for a decoder; if the encoders outnumber the remaining CPUs, they share
    # them fractionally.
    cpus_per_encoder = min(1.0, (num_cpus - 1) / num_encoders)
    num_decoders = max(1, min(num_pieces, num_cpus - round(cpus_per_encoder * num_encoders)))
    return ResourceAllocation(num_decoders, num_encoders, cpus_per_encoder)
