"""Training with weights, gradients and optimizer state sharded over the workers (PyTorch's FSDP2).

This is for models whose training does not fit on one GPU: each worker holds a shard and gathers the
weights of a layer only while the layer computes. Evaluations and checkpoints need the full model,
so a plain copy is filled with the gathered weights each time. The copy costs the model's size in
memory on every worker, and nothing else between evaluations. Checkpoints have the same format as
those of any other run. For models that fit on one GPU, data parallelism is simpler and as fast.

Sharded training equals unsharded training except for rounding: the vector kernel of fused AdamW
rounds the last elements of a tensor differently, and shards end at other elements (106 of 106,800
elements differ with AVX2 and AVX-512, by at most 1.8e-6 of their size; none with the default
kernels). Two runs with the same sharding have the same bits.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard

from kinesweep.models.objectives.attachment import load_training_weights
from kinesweep.models.translator import Translator
from kinesweep.training.distributed.layer_drop import SharedLayerDrop
from kinesweep.training.loop.trainer import TranslatorTrainer

# The file names that Hugging Face's Trainer uses.
_OPTIMIZER_FILE, _SCHEDULER_FILE = "optimizer.pt", "scheduler.pt"
_FULL_STATE_DICT = StateDictOptions(full_state_dict=True)


class ShardedTrainer(TranslatorTrainer):
    """A `TranslatorTrainer` whose model is sharded over the workers.

    It takes the arguments of `TranslatorTrainer`, and shards the model that it gets in place.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Copy before sharding: `_shard_model` replaces the parameters in place.
        self._full_copy = copy.deepcopy(self.model)
        # Workers that skip different layers would wait for each other in different layers.
        self._layer_drop = SharedLayerDrop(self.model, self.args.seed)
        _shard_model(self.model)
        # Tells the Trainer that the model reduces its own gradients. Accelerate would shard on GPUs
        # only and silently skip sharding elsewhere.
        self.is_distributed_loading_by_transformers = True

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the gradient of a batch; all workers skip the same layers."""
        self._layer_drop.start_step(self.state.global_step)
        return super().training_step(*args, **kwargs)

    def gather_full_model(self) -> Translator:
        """Gather the current weights into an unsharded copy of the model; a collective call.

        Returns:
            The copy. It is the same object in every call: the next call overwrites its weights.
        """
        state = get_model_state_dict(self.model, options=_FULL_STATE_DICT)
        self._full_copy.load_state_dict(state)
        return self._full_copy

    @contextmanager
    def _defer_fsdp_gradient_reduction(self) -> Iterator[None]:
        """Suspend the reduction of gradients over the workers within the `with` block.

        transformers uses this block for all accumulated batches but the last, so that the gradients
        are reduced once for each optimizer step.
        """
        self.model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self.model.set_requires_gradient_sync(True)

    def _collect_optimizer_state(self) -> Any:
        """Gather the full optimizer state, as an unsharded run has it; a collective call."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return get_optimizer_state_dict(self.model, self.optimizer.optimizer, options=options)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load optimizer and scheduler from a checkpoint; each rank keeps its shard of the state.

        Does nothing if `checkpoint` is None, when training starts from the first step.
        """
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        state = torch.load(folder / _OPTIMIZER_FILE, map_location="cpu", weights_only=True)
        set_optimizer_state_dict(
            self.model, self.optimizer.optimizer, optim_state_dict=state, options=_FULL_STATE_DICT
        )
        self.lr_scheduler.load_state_dict(torch.load(folder / _SCHEDULER_FILE, weights_only=True))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load the weights of a checkpoint, which must match exactly, and distribute them.

        They are loaded into the unsharded copy, and from there into the shards of each rank.

        Raises:
            CheckpointError: See `load_training_weights`.
        """
        load_training_weights(self._full_copy, Path(resume_from_checkpoint))
        set_model_state_dict(self.model, self._full_copy.state_dict(), options=_FULL_STATE_DICT)


def _shard_model(model: Translator) -> None:
    """Shard a model over the workers in place: each layer, then all remaining parameters.

    Layers are the modules that transformers must not split (`_no_split_modules`), each of which is
    gathered as a whole.
    """
    layer_classes = set(model._no_split_modules or ())
    for module in model.modules():
        if type(module).__name__ in layer_classes:
            fully_shard(module)
    # The root takes all parameters that the layers have not taken, so it comes last.
    fully_shard(model)
    # transformers checks this attribute, together with the flag in `__init__`, to use
    # `_defer_fsdp_gradient_reduction`.
    model._is_fsdp_managed_module = True
