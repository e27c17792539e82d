"""Checks before training that checkpoints fit on the disk and the largest batches into the memory.

Otherwise a full disk ends a run after hours; or the kernel does when a large batch is reached,
without a message and possibly together with other processes of the machine. The estimate of the
memory is a lower bound, so a run that passes may still exhaust it, but no run that could be trained
is refused.
"""

from collections.abc import Sequence

import torch

from kinesweep.checkpoints.disk_space import (
    check_checkpoint_space,
    estimate_checkpoint_bytes,
    estimate_run_bytes,
)
from kinesweep.config.recipe.data import BatchConfig
from kinesweep.config.recipe.resolved_training import ResolvedTrainingConfig
from kinesweep.config.recipe.training import TrainingConfig
from kinesweep.core.errors import ResourceError
from kinesweep.core.paths import compute_directory_size
from kinesweep.core.system.memory import get_memory_limit_bytes
from kinesweep.core.units import format_bytes
from kinesweep.data.length_limits import (
    count_clip_frames,
    filter_clips_by_length,
    truncate_lengths,
)
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.models.checkpoint_io import estimate_saved_bytes
from kinesweep.models.translator import Translator
from kinesweep.store.format.index import ClipRecord
from kinesweep.store.format.reader import Store
from kinesweep.training.loop.memory_estimate import BatchMemory, estimate_batch_memory
from kinesweep.training.run_records.result import RunSpec


def check_disk_space(
    spec: RunSpec, training: ResolvedTrainingConfig, model: Translator, world_size: int
) -> None:
    """Check that the checkpoints of a run fit on the disk of its folder.

    Args:
        spec: Specification of the run.
        training: Resolved `training` section, with the numbers of steps and evaluations.
        model: Built model, whose weights determine the size of a checkpoint.
        world_size: Number of workers; each saves its own RNG states.

    Raises:
        ResourceError: If the checkpoints exceed `checkpoints.max_disk` or the free space.
    """
    weight_bytes = estimate_saved_bytes(model)
    num_trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    bytes_per_checkpoint = estimate_checkpoint_bytes(weight_bytes, num_trainable, world_size)
    needed_bytes = estimate_run_bytes(
        bytes_per_checkpoint, weight_bytes, spec.recipe.checkpoints, training
    )
    check_checkpoint_space(
        spec.folder,
        needed_bytes,
        bytes_per_checkpoint,
        spec.recipe.checkpoints,
        compute_directory_size(spec.folder),
    )


def check_batches_fit_memory(
    model: Translator,
    store: Store,
    train_dataset: TrainDataset,
    training: TrainingConfig,
    batch_config: BatchConfig,
    max_eval_frames: int,
) -> None:
    """Check that the largest batches of training and evaluation can fit into the memory.

    Args:
        model: Translator on its device.
        store: Feature store.
        train_dataset: Training data.
        training: The `training` section, with precision and activation checkpointing.
        batch_config: The effective `batch` section, with the length limits.
        max_eval_frames: Maximum number of frames in a batch of an evaluation
            (`evaluation.max_frames`).

    Raises:
        ResourceError: If a batch needs more than the whole memory of the machine or the GPU; names
            its longest clip, the figures and what to set.
    """
    limit_bytes = _get_device_memory_bytes(model.device)
    value_bytes = 4 if training.precision == "fp32" else 2
    # Several batches: the one with most frames and the one with the longest clip may differ.
    for records in train_dataset.find_largest_batches():
        memory = estimate_batch_memory(
            model,
            len(records),
            _pad_lengths(records, batch_config),
            store.schema,
            is_training=True,
            value_bytes=value_bytes,
            checkpoints_layers=training.activation_checkpointing,
        )
        _check_memory(memory, limit_bytes, records, batch_config, "train", model)
    for split in (split for split in store.splits if split != "train"):
        kept_records, _ = filter_clips_by_length(store.get_records(split), batch_config, split)
        if not kept_records:
            continue
        longest = max(kept_records, key=lambda record: count_clip_frames(record, batch_config))
        # The worst case: a batch filled with clips as long as the longest one.
        num_clips = max(1, max_eval_frames // max(1, count_clip_frames(longest, batch_config)))
        records = (longest,) * min(num_clips, len(kept_records))
        memory = estimate_batch_memory(
            model,
            len(records),
            _pad_lengths(records, batch_config),
            store.schema,
            is_training=False,
        )
        _check_memory(memory, limit_bytes, records, batch_config, split, model)


def _get_device_memory_bytes(device: torch.device) -> int:
    """Return the whole memory of a GPU, or the memory that this process may use on the CPU."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return get_memory_limit_bytes()


def _pad_lengths(records: Sequence[ClipRecord], config: BatchConfig) -> dict[str, int]:
    """Return stream → number of frames to which the clips of a batch are padded."""
    lengths = [truncate_lengths(item, config) for record in records for item in record.all_lengths]
    names = dict.fromkeys(name for clip_lengths in lengths for name in clip_lengths)
    return {name: max(clip_lengths.get(name, 0) for clip_lengths in lengths) for name in names}


def _check_memory(
    memory: BatchMemory,
    limit_bytes: int,
    records: Sequence[ClipRecord],
    config: BatchConfig,
    split: str,
    model: Translator,
) -> None:
    """Raise an error if a batch takes more than the memory.

    Raises:
        ResourceError: If the estimate exceeds the limit.
    """
    if memory.total <= limit_bytes:
        return
    longest = max(records, key=lambda record: count_clip_frames(record, config))
    widths = model.config.get_stream_widths()
    frames = " + ".join(
        f"{num_frames:,} frames × {widths[name]} values"
        for name, num_frames in truncate_lengths(longest.lengths, config).items()
        if name in widths
    )
    location = f" ({longest.clip.row})" if longest.clip.row else ""
    device = "the GPU" if model.device.type == "cuda" else "this machine"
    # Limits never drop clips of the test split, so those can only be truncated.
    remedy = "" if split == "test" else "exclude it with `batch.max_clip_frames`, "
    batch_text = "its batch of 1 clip"
    if len(records) > 1:
        batch_text = f"its batch of {len(records)} clips"
        size_key = "evaluation.max_frames" if split != "train" else "batch.batch_size"
        remedy += f"lower `{size_key}`, "
    vision_text = ""
    if memory.vision:
        vision_text = f" and {format_bytes(memory.vision)} are kept by the vision model"
        remedy += "set `model.vision.gradient_checkpointing`, "
    raise ResourceError(
        f"clip `{longest.clip.id}`{location} of {split} cannot fit into the memory:"
        f" {batch_text} ({frames} each) needs at least {format_bytes(memory.total)},"
        f" of which {format_bytes(memory.attention)} are attention scores over"
        f" {memory.num_vectors:,} vectors{vision_text}, but {device} has"
        f" {format_bytes(limit_bytes)}. Cut the recording into clips,"
        f" {remedy}truncate it with `batch.truncate_frames`, or raise `downsample` of the encoder"
    )
