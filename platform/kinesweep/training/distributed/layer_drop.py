"""Layer dropout (LayerDrop, arXiv 1909.11556) that is drawn alike on all workers.

Models of the BART family skip each layer with some probability in training. Hugging Face draws this
from the generator of dropout, which each worker seeds differently. Sharded workers gather the
weights of a layer together, so they must skip the same layers: else they wait for each other in
different layers. Here the draw depends on the seed of the run and the step only.
"""

from functools import partial
from typing import Any

import torch
from torch import nn

from kinesweep.core.errors import InputError
from kinesweep.core.seeds import derive_seed


def drops_layers(model: nn.Module) -> bool:
    """Return whether a model skips some of its layers at random in training."""
    return any(_get_drop_rate(module) > 0 for module in model.modules())


class SharedLayerDrop:
    """Layer dropout of a model whose draws are the same on all workers.

    It replaces the layer dropout of the model, which is modified in place. The configuration of the
    model keeps its rates, so a saved model drops layers as before when it is trained elsewhere.

    Args:
        model: Model, before it is sharded.
        seed: Seed of the run.

    Raises:
        InputError: If a module drops layers but does not keep them in the list `layers`.
    """

    def __init__(self, model: nn.Module, seed: int) -> None:
        self._seed = seed
        self._step = 0
        self._num_passes: dict[str, int] = {}
        for name, module in model.named_modules():
            rate = _get_drop_rate(module)
            if rate == 0:
                continue
            layers = getattr(module, "layers", None)
            if not isinstance(layers, nn.ModuleList):
                raise InputError(
                    f"`training.fsdp` cannot shard `{type(module).__name__}`, which drops layers in"
                    " training in a way that is not known; set its `layerdrop` to 0"
                )
            module.layerdrop = 0.0
            module.register_forward_pre_hook(partial(self._skip_layers, name, rate, layers))
            # Also after an error, for example a batch that does not fit into the memory.
            module.register_forward_hook(partial(_restore_layers, layers), always_call=True)

    def start_step(self, step: int) -> None:
        """Draw the next layers for a step; call it before each forward pass of training.

        Args:
            step: Number of optimizer steps done. A resumed run continues with the same draws.
        """
        if step != self._step:
            self._step = step
            self._num_passes = {}

    def _skip_layers(
        self, name: str, rate: float, layers: nn.ModuleList, module: nn.Module, _: Any
    ) -> None:
        """Remove the layers to be skipped from the list over which the module iterates.

        Args:
            name: Name of the module in the model, such as `backbone.model.encoder`.
            rate: Probability with which each layer is skipped.
            layers: All layers.
            module: Encoder or decoder.
        """
        if not module.training:
            return
        # A step has a forward pass for each accumulated batch and each part of a batch.
        num_passes = self._num_passes[name] = self._num_passes.get(name, 0) + 1
        seed = derive_seed(self._seed, "layerdrop", self._step, name, num_passes)
        # On the CPU and with a generator of its own: the draws of dropout stay as they are.
        draws = torch.rand(len(layers), generator=torch.Generator().manual_seed(seed)).tolist()
        kept = [layer for layer, draw in zip(layers, draws, strict=True) if draw >= rate]
        module._modules["layers"] = nn.ModuleList(kept)


def _restore_layers(layers: nn.ModuleList, module: nn.Module, *_: Any) -> None:
    """Give a module all of its layers back, after its forward pass."""
    module._modules["layers"] = layers


def _get_drop_rate(module: nn.Module) -> float:
    """Return the probability with which a module skips its layers, 0 to 1."""
    rate = getattr(module, "layerdrop", 0.0)
    return float(rate) if isinstance(rate, int | float) else 0.0
