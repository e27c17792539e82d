"""The CNN encoder: gated convolutions over time, with strides.

A projection, then for each kernel a convolution, a gated linear unit and dropout. Two strides of 2
leave a quarter of the vectors, so the backbone's attention, whose cost grows with their square,
costs a sixteenth. Before each convolution padding is set to zero, like the area beyond the end of a
single clip, and the mask is recomputed after it, so a clip in a batch equals the clip alone.

Shapes: B clips, T frames, D features, E output width.
"""

from itertools import pairwise
from math import prod

from torch import Tensor, arange, nn
from torch.nn import functional

from kinesweep.config.recipe.model.encoders import CnnEncoderConfig
from kinesweep.models.encoders.frame_encoder import FrameEncoder, SourceSpan


class CnnEncoder(FrameEncoder):
    """Convolves over several frames at a time; its strides reduce the number of vectors.

    Args:
        config: Kernels, strides and channels.
        width: Input width D.
        out: Output width E.
    """

    def __init__(self, config: CnnEncoderConfig, width: int, out: int) -> None:
        super().__init__(config, width)
        self.strides = config.strides
        self.project = nn.Linear(self.width_in, config.channels)
        widths = [config.channels] * len(config.kernels) + [out]
        # Twice the output width: a gated linear unit uses one half to gate the other.
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, 2 * after, kernel, stride, padding=kernel // 2)
            for (before, after), kernel, stride in zip(
                pairwise(widths), config.kernels, config.strides, strict=True
            )
        )
        self.dropout = nn.Dropout(config.dropout)

    def count_vectors(self, num_frames: int) -> int:
        """Count the output vectors of a clip."""
        # Rounding up once is the same as after each stride.
        return -(-num_frames // prod(self.strides))

    def get_source_spans(self, num_frames: int) -> list[SourceSpan]:
        """Return the frames nearest to the center of each vector's receptive field, in time order.

        A vector represents as many frames as the product of the strides, fewer at the ends.

        Args:
            num_frames: Number of real frames of the clip.
        """
        step = prod(self.strides)
        # The centers lie at multiples of `step`; ranges meet halfway between them.
        num_vectors = -(-num_frames // step)
        inner_bounds = [index * step - step // 2 for index in range(1, num_vectors)]
        bounds = [0, *inner_bounds, num_frames]
        return [SourceSpan(first, end) for first, end in pairwise(bounds)]

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve the frames over time, with the configured strides.

        Args:
            x_BTD: Features.
            mask_BT: Mask of the frames, bool, True on the left only.

        Returns:
            Vectors (B, T', E) and their mask, bool (B, T'). T' is T divided by each stride in turn,
            rounded up.
        """
        x_BET = self.project(self.preprocess(x_BTD)).transpose(1, 2)
        lengths_B = mask_BT.sum(dim=1)
        for convolution, stride in zip(self.convolutions, self.strides, strict=True):
            x_BET = convolution(x_BET.masked_fill(~mask_BT[:, None], 0))
            x_BET = self.dropout(functional.glu(x_BET, dim=1))
            # Same rounding as a convolution with an odd kernel and padding of half of it.
            lengths_B = -(-lengths_B // stride)
            mask_BT = arange(x_BET.shape[2], device=x_BET.device) < lengths_B[:, None]
        return x_BET.transpose(1, 2), mask_BT
