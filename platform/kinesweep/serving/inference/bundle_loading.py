"""Loading of a bundle in a replica, on the device and with the threads that it was given."""

from dataclasses import replace
from pathlib import Path

import torch

from kinesweep.config.recipe.sources.estimators import JointEstimatorConfig
from kinesweep.core.errors import BundleError
from kinesweep.export import Bundle
from kinesweep.export.bundle import read_bundle_recipe
from kinesweep.export.bundle_manifest import read_manifest_sha256
from kinesweep.features.estimators.smpl.configured import read_estimator_file
from kinesweep.serving.inference.clip_translator import ClipTranslator
from kinesweep.serving.inference.upload_folder import remove_abandoned_folders
from kinesweep.serving.inference.video_poses import start_estimator
from kinesweep.serving.replica_settings import ReplicaSettings
from kinesweep.training.reproducibility.determinism import configure_determinism


def load_clip_translator(settings: ReplicaSettings) -> ClipTranslator:
    """Load the bundle of a replica.

    Deterministic kernels and the seed of the recipe are used, as where the bundle was verified.

    Args:
        settings: Bundle, resources and limits of the replica.

    Raises:
        BundleError: If the folder is not a bundle or is damaged, or if its bundle has been replaced
            since the server started.
        ResourceError: If GPUs are requested but none is available.
    """
    remove_abandoned_folders()
    # Replicas that start later would otherwise give other texts than those that run.
    if read_manifest_sha256(settings.bundle_dir) != settings.manifest_sha256:
        raise BundleError(
            f"the bundle `{settings.bundle_dir}` has been replaced since the server started; start"
            " the server again"
        )
    recipe = read_bundle_recipe(settings.bundle_dir)
    device = configure_determinism(recipe.training.seed, settings.cpus, settings.gpus)
    if 0 < settings.gpus < 1:
        # Replicas that share a GPU must not take each other's memory.
        torch.cuda.set_per_process_memory_fraction(settings.gpus, device)
    joints: JointEstimatorConfig | None = None
    estimate_poses = None
    if recipe.corpora[0].kind == "skeletons":
        if settings.estimator is not None:
            joints = read_estimator_file(Path(settings.estimator))
    else:
        estimate_poses = start_estimator(settings.estimator)
    bundle = Bundle.load(settings.bundle_dir, device, skip_file_check=True, estimator=joints)
    bundle = replace(bundle, accept_rate=settings.accept_rate)
    return ClipTranslator(bundle, settings.limits, estimate_poses)
