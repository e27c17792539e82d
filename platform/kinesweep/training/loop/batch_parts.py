"""Batches that are too large for the memory: in how many parts each batch is computed.

With `training.auto_find_batch_size`, every batch is computed in 1, 2, 4, 8 … parts, whose gradients
are added up. A step therefore keeps its clips, unlike with Hugging Face's setting of this name,
which makes the batches smaller and trains on. The result is that of the whole batch except for
rounding, dropout, and batch normalization, which sees one part at a time.

The number is found before the first step, from the largest batches of an epoch, and is kept in the
run folder, so that a resumed run repeats the same bits on a machine with more or less memory.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kinesweep.core.collectives import all_gather, is_rank_zero, run_on_rank_zero
from kinesweep.core.errors import ResourceError
from kinesweep.core.io import write_json
from kinesweep.core.run_logger import RunLogger
from kinesweep.data.train_dataset import TrainDataset
from kinesweep.models.translator import Translator
from kinesweep.training.loop.batch_split import split_batch
from kinesweep.training.loop.components import RunComponents
from kinesweep.training.loop.resource_checks import count_needed_parts
from kinesweep.training.reproducibility.determinism import preserve_rng_state
from kinesweep.training.run_records.result import RunSpec
from kinesweep.training.run_records.run_identity import PARTS_FILE

_LOG = logging.getLogger(__name__)
# Values of the optimizer and the gradient that training keeps for each trainable weight: two
# moments of AdamW. They do not exist yet when the batches are tried.
_OPTIMIZER_VALUES = 2


def resolve_batch_parts(
    spec: RunSpec, components: RunComponents, train_dataset: TrainDataset, log: RunLogger
) -> RunComponents:
    """Return the components with the number of parts in which each batch is computed.

    It is one without `training.auto_find_batch_size`; a larger one is logged. A collective call.

    Args:
        spec: Specification of the run.
        components: Store and model of the run.
        train_dataset: Training data of this rank.
        log: Run logger of rank 0.

    Raises:
        ResourceError: If a single clip does not fit into the GPU's memory.
    """
    recipe = spec.recipe
    if not recipe.training.auto_find_batch_size:
        return components
    model, batch_config = components.model, recipe.effective_batch
    num_parts = find_num_parts(
        spec.folder,
        model,
        [batch.get_forward_kwargs() for batch in train_dataset.load_largest_batches()],
        count_needed_parts(
            model, components.store, train_dataset, components.training, batch_config
        ),
        components.training.precision,
    )
    if num_parts > 1 and is_rank_zero():
        _LOG.info("each batch is computed in %d parts to fit into the memory", num_parts)
        log.log_params({"resolved.num_batch_parts": num_parts})
    return replace(components, num_batch_parts=num_parts)


def find_num_parts(
    folder: Path,
    model: Translator,
    batches: Sequence[Mapping[str, Any]],
    min_parts: int,
    precision: str,
) -> int:
    """Find into how many parts batches must be split to fit into the memory; a collective call.

    On a GPU the batches are tried out; on a CPU, where the kernel ends a process that takes too
    much, the lower bound counts. The number of an earlier call for this run is returned again.

    Args:
        folder: Run folder, in which the number is kept.
        model: Translator on its device; its weights, gradients and statistics are left as they are.
        batches: Keyword arguments of the forward passes of the largest batches.
        min_parts: Lower bound, from the estimate of the memory.
        precision: `training.precision`.

    Returns:
        A power of two, the same on all ranks.

    Raises:
        ResourceError: If a single clip does not fit into the GPU's memory.
    """
    path = folder / PARTS_FILE
    # Read by rank 0 alone: the run folder may not be visible to others at the same moment.
    known = run_on_rank_zero(partial(_read_num_parts, path))
    if known is not None:
        return known
    num_parts = min_parts
    if model.device.type == "cuda":
        num_parts = try_batches(model, batches, min_parts, precision)
    # The ranks have other batches and perhaps other neighbors on their GPUs.
    num_parts = max(all_gather(num_parts))
    run_on_rank_zero(partial(write_json, path, {"num_parts": num_parts}))
    return num_parts


def try_batches(
    model: Translator, batches: Sequence[Mapping[str, Any]], min_parts: int, precision: str
) -> int:
    """Try batches out, forward and backward, in twice as many parts until all of them fit.

    The arguments are those of `find_num_parts`.

    Raises:
        ResourceError: If a single clip does not fit into the memory.
    """
    num_parts = min_parts
    num_clips = max((len(batch["labels"]) for batch in batches), default=1)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    # Trying batches draws dropout masks, which must not change the run.
    with preserve_rng_state():
        while not _fits(model, batches, num_parts, precision):
            if num_parts >= num_clips:
                raise ResourceError(
                    "a batch of a single clip does not fit into the memory of the GPU; truncate"
                    " clips with `batch.truncate_frames`, exclude them with"
                    " `batch.max_clip_frames`, or set `training.activation_checkpointing`"
                )
            # Doubled, so that a few attempts suffice.
            num_parts *= 2
    # Batch normalization has counted the clips that were tried.
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    return num_parts


def _fits(
    model: Translator, batches: Iterable[Mapping[str, Any]], num_parts: int, precision: str
) -> bool:
    """Return whether batches can be computed in parts, beside the optimizer's future state."""
    device_type, dtype = model.device.type, torch.bfloat16
    dtype = torch.float16 if precision == "fp16" else dtype
    model.train()
    try:
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # Held until this function returns, as the optimizer will hold its state.
        reserved = [torch.empty_like(p) for p in trainable for _ in range(_OPTIMIZER_VALUES)]
        for part in (part for batch in batches for part in split_batch(batch, num_parts)):
            with torch.autocast(device_type, dtype, enabled=precision != "fp32"):
                loss = model(**_move(part, model.device)).loss
            # Gradients are kept between the parts, as in training, because they take memory too.
            loss.backward()
        del reserved
    except torch.OutOfMemoryError:
        return False
    finally:
        model.zero_grad(set_to_none=True)
        # Fragments of a failed attempt would make the next one fail.
        torch.cuda.empty_cache()
    return True


def _move(value: Any, device: torch.device) -> Any:
    """Return a value with all of its tensors on a device."""
    if isinstance(value, Mapping):
        return {name: _move(each, device) for name, each in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value


def _read_num_parts(path: Path) -> int | None:
    """Read the number of parts of an earlier call; None if there was none."""
    return json.loads(path.read_text(encoding="utf-8"))["num_parts"] if path.is_file() else None
