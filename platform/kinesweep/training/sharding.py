"""Training with weights, gradients and optimiser state cut over the workers (PyTorch's FSDP2).

For models whose training does not fit on one GPU: each worker holds its share and gathers a layer's
weights only while the layer works. Evaluations and checkpoints want the whole model, so a plain
twin is filled with gathered weights each time; it costs its own size in memory on every worker, and
nothing between evaluations but that. Checkpoints are those of any other run. Where a model fits,
plain data parallelism is simpler and as fast.

Sharded training equals whole training except for rounding: the vector kernel of fused AdamW rounds
the last elements of a tensor otherwise than the others, and a shard ends elsewhere (106 of 106,800
elements with AVX2 and AVX-512, at most 1.8e-6 of their size; none with the default kernels). Two
runs that are sharded alike have the same bits.
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

from kinesweep.models.saving import load_weights
from kinesweep.models.translator import Translator
from kinesweep.training.trainer import StreamTrainer

_OPTIMIZER, _SCHEDULER = "optimizer.pt", "scheduler.pt"
_WHOLE = StateDictOptions(full_state_dict=True)


class ShardedTrainer(StreamTrainer):
    """A `StreamTrainer` whose model is sharded; the arguments are its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._twin = copy.deepcopy(self.model)
        _shard(self.model)
        # Tells the Trainer that the model reduces its own gradients; accelerate would shard on GPUs
        # alone and say nothing elsewhere.
        self.is_distributed_loading_by_transformers = True

    def whole(self) -> Translator:
        """The twin, with the weights of now; a collective."""
        state = get_model_state_dict(self.model, options=_WHOLE)
        self._twin.load_state_dict(state)
        return self._twin

    @contextmanager
    def _defer_fsdp_gradient_reduction(self) -> Iterator[None]:
        """Gradients of accumulated batches are summed over the workers once."""
        self.model.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            self.model.set_requires_gradient_sync(True)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """The whole state in one file, as a run without shards writes it; a collective."""
        inner = self.optimizer.optimizer
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state = get_optimizer_state_dict(self.model, inner, options=options)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / _OPTIMIZER)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / _SCHEDULER)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        folder = Path(checkpoint)
        state = torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True)
        set_optimizer_state_dict(
            self.model, self.optimizer.optimizer, optim_state_dict=state, options=_WHOLE
        )
        self.lr_scheduler.load_state_dict(torch.load(folder / _SCHEDULER, weights_only=True))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Loads weights strictly into the twin, and from there into the shards."""
        load_weights(self._twin, Path(resume_from_checkpoint))
        set_model_state_dict(self.model, self._twin.state_dict(), options=_WHOLE)


def _shard(model: Translator) -> None:
    """Cuts each layer of the backbone, then what is left, in place."""
    whole = set(model._no_split_modules or ())
    for module in model.modules():
        if type(module).__name__ in whole:
            fully_shard(module)
    fully_shard(model)
    model._is_fsdp_managed_module = True
