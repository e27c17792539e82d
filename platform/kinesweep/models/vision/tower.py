"""The vision tower: an image or video model over the windows of decoded frames, differentiable.

Frames pass through the model in chunks of `model.vision.batch` windows. An image model reads every
frame once, however many windows contain it, and no padding; a video model reads whole windows.
Without `gradient_checkpointing` the activations of all chunks are kept until the backward pass;
with it only the frames are, which are bytes, and each chunk is computed again. A frozen model keeps
nothing and stays in evaluation mode.

Shapes: B clips, T frames, P = 3 · size² values of a frame, H = W pixels, C colors, W windows, F
frames of a window, K time steps of a window, M joined time steps, N vectors, D width.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from kinesweep.config.recipe.model.vision import AnyVision
from kinesweep.core.batch import copy_to_device
from kinesweep.core.errors import InputError
from kinesweep.models.encoders.frame_encoder import SourceSpan
from kinesweep.models.lora import add_vision_lora, is_adapter_weight
from kinesweep.models.vision.window_plan import Indices, WindowPlan, WindowPlanner


class VisionTower(nn.Module):
    """A vision model that maps decoded frames to one vector per time step.

    Args:
        config: The recipe's `model.vision` section.
        network: Network from windows of pixels to vectors, such as `HfVisionNetwork`.
        unused_weights: Weights of the network that its vectors do not depend on, such as those of a
            pooling layer; they are never trained.

    Raises:
        InputError: If the network does not support windows of this length, or the stride does not
            fit its time steps.
    """

    def __init__(self, config: AnyVision, network: Any, unused_weights: Sequence[str] = ()) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self.unused_weights = frozenset(unused_weights)
        self.planner = WindowPlanner(
            config.windows, network.count_time_steps(config.windows.num_frames)
        )

    def train(self, mode: bool = True) -> Self:
        """Set training mode, which a frozen model never enters.

        With adapters, batch norms keep their statistics, as the weights beside them do.
        """
        super().train(mode and not self.config.freeze)
        if self.config.lora is not None:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def freeze_parameters(self) -> None:
        """Freeze all weights that are not trained: a frozen model's, those under adapters, unused.

        Weights are frozen and released, so the result does not depend on what was frozen before.
        """
        for name, parameter in self.network.named_parameters():
            is_trained = (
                is_adapter_weight(name)
                if self.config.lora is not None
                else name not in self.unused_weights
            )
            parameter.requires_grad_(is_trained and not self.config.freeze)

    def add_adapters(self) -> None:
        """Add the adapters of the recipe, if any, to the network.

        Raises:
            ConfigError: If the network lacks a target layer.
        """
        if self.config.lora is not None:
            add_vision_lora(self.network, self.config.lora, self.unused_weights)

    def replace_frames(
        self,
        streams: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        lengths: Mapping[str, Sequence[int]],
        frame_streams: Collection[str],
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Sequence[int]]]:
        """Replace the frames of a batch by their vectors; other streams stay as they are.

        Args:
            streams: Stream → features (B, T, D), or decoded frames (B, T, P).
            masks: Stream → mask, bool (B, T).
            lengths: Stream → number of frames of each clip.
            frame_streams: Names of the streams of decoded frames.

        Returns:
            Stream → features or vectors, stream → their mask, and stream → their number in each
            clip.

        Raises:
            InputError: If the frames are not bytes of images of the model's size.
        """
        new_streams, new_masks, new_lengths = dict(streams), dict(masks), dict(lengths)
        for name in frame_streams:
            if name in streams:
                new_streams[name], new_masks[name] = self(streams[name], masks[name], lengths[name])
                new_lengths[name] = [self.count_vectors(length) for length in lengths[name]]
        return new_streams, new_masks, new_lengths

    def forward(
        self, x_BTP: Tensor, mask_BT: Tensor, lengths: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode the frames of clips.

        Args:
            x_BTP: Decoded frames, uint8, flattened from (size, size, 3).
            mask_BT: Mask of the frames, bool, True on the left only.
            lengths: Number of frames of each clip; None: they are read from the mask.

        Returns:
            Vectors, float32 (B, N, D), and their mask, bool (B, N).

        Raises:
            InputError: If the frames are not bytes of images of the model's size.
        """
        size = self.network.size
        if x_BTP.dtype != torch.uint8 or x_BTP.shape[2] != size * size * 3:
            raise InputError(
                f"`model.vision` reads frames of {size} × {size} pixels as bytes ({size * size * 3}"
                f" values of uint8), but got {x_BTP.shape[2]} values of {x_BTP.dtype}. Use a"
                " feature store of `features.kind: frames` with this `size`."
            )
        num_clips, num_frames = mask_BT.shape
        if lengths is None:
            lengths = mask_BT.sum(dim=1).tolist()
        plan = self.planner.build_plan(lengths, num_frames)
        frames_NHWC = x_BTP.reshape(num_clips * num_frames, size, size, 3)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze):
            x_BND = self._join(plan, *self._encode(frames_NHWC, plan))
        lengths_B = copy_to_device(torch.from_numpy(plan.lengths_B), mask_BT.device)
        mask_BN = torch.arange(plan.num_vectors, device=mask_BT.device) < lengths_B[:, None]
        return x_BND, mask_BN

    @property
    def keeps_activations(self) -> bool:
        """Return whether training keeps the activations of all frames for the backward pass."""
        return not self.config.freeze and not self.config.gradient_checkpointing

    def count_vectors(self, num_frames: int) -> int:
        """Count the vectors of a clip of `num_frames` frames."""
        return self.planner.count_vectors(num_frames)

    def get_source_spans(self, vector_spans: Sequence[SourceSpan], num_frames: int) -> list[Any]:
        """Return the frames behind spans of vectors of a clip.

        Args:
            vector_spans: Spans over the vectors of the clip, from the encoder that reads them.
            num_frames: Number of real frames of the clip.
        """
        frame_spans = self.planner.list_frame_spans(num_frames)
        spans = []
        for first, end, joint in vector_spans:
            covered = frame_spans[first:end]
            first_frame = min(span[0] for span in covered)
            spans.append(SourceSpan(first_frame, max(span[1] for span in covered), joint))
        return spans

    def _encode(self, frames_NHWC: Tensor, plan: WindowPlan) -> tuple[Tensor, Indices]:
        """Encode the frames or windows of a batch.

        Args:
            frames_NHWC: Frames of all clips with padding, uint8.
            plan: Windows of the batch.

        Returns:
            Vectors of distinct frames or of all time steps, float32 (any number, D), and for each
            joined time step, (M,), the index of its vector.
        """
        windows_WF, num_real_W, indices_M = plan.frames_WF, plan.num_real_frames_W, plan.sources_M
        chunk_size = self.config.batch
        if self.network.is_framewise:
            # Every time step is a frame, so each frame that is needed is a window of its own.
            needed, indices_M = np.unique(windows_WF.ravel()[indices_M], return_inverse=True)
            windows_WF, num_real_W = needed[:, None], np.ones(len(needed), np.intp)
            chunk_size *= self.config.windows.num_frames
        chunks = [
            self._encode_chunk(
                frames_NHWC,
                copy_to_device(
                    torch.from_numpy(windows_WF[first : first + chunk_size]), frames_NHWC.device
                ),
                num_real_W[first : first + chunk_size].tolist(),
            )
            for first in range(0, len(windows_WF), chunk_size)
        ]
        # A batch may have no frame of the stream, and `cat` needs at least one tensor.
        empty = torch.zeros(0, self.network.width, device=frames_NHWC.device)
        return torch.cat([empty, *(x_WKD.flatten(0, 1) for x_WKD in chunks)]), indices_M

    def _encode_chunk(
        self, frames_NHWC: Tensor, windows_WF: Tensor, num_real_frames_W: list[int]
    ) -> Tensor:
        """Encode some windows to vectors, float32 (W, K, D).

        Args:
            frames_NHWC: Frames of all clips with padding, uint8.
            windows_WF: Frames of each window.
            num_real_frames_W: Number of real frames of each window.
        """

        def encode() -> Tensor:
            """Gather the pixels of the windows and pass them through the network."""
            return self.network(frames_NHWC[windows_WF], num_real_frames_W)

        if self.config.gradient_checkpointing and torch.is_grad_enabled():
            # The reentrant variant needs an input with a gradient, which bytes do not have.
            return checkpoint(encode, use_reentrant=False)
        return encode()

    def _join(self, plan: WindowPlan, vectors_ND: Tensor, indices_M: Indices) -> Tensor:
        """Join the time steps of the windows of each clip, (B, N, D); zero where padded.

        Args:
            plan: Windows of the batch.
            vectors_ND: Vectors of frames or time steps.
            indices_M: Vector of each joined time step.
        """
        device, num_places = vectors_ND.device, len(plan.lengths_B) * plan.num_vectors
        x_MD = vectors_ND[copy_to_device(torch.from_numpy(indices_M), device)]
        targets_M = copy_to_device(torch.from_numpy(plan.targets_M), device)
        joined = x_MD.new_zeros(num_places, x_MD.shape[1]).index_add(0, targets_M, x_MD)
        if self.config.windows.overlap == "average":
            # Padding has no time steps; 1 avoids a division by zero.
            counts = np.maximum(1, np.bincount(plan.targets_M, minlength=num_places))
            counts_N1 = torch.from_numpy(counts).to(joined.dtype)[:, None]
            joined = joined / copy_to_device(counts_N1, device)
        return joined.unflatten(0, (len(plan.lengths_B), plan.num_vectors))
