"""SignHiera: Hiera-Base over 128 frames of video, one vector every two frames.

Each token covers 2 frames x 4 x 4 pixels. In the first stages tokens attend to each other within a
mask unit (a square of one time step, 8 x 8 tokens at first), in later stages within the whole
window. Between stages, 2 x 2 tokens are merged into one and the width doubles. The output of the
last stage is averaged over space. Architecture: Ryali et al. 2023, arXiv:2306.00989; clips of 128
frames: Rust et al. 2024, arXiv:2402.09611. Tensors have the same names as in the checkpoints of
both.

The norm that classifiers apply after the mean is omitted: pretraining has none, so its checkpoints
contain no weights for it (50 788 800 parameters; 50 790 336 with it). The cost of attention over
the window is quadratic in its length: 128 frames take 45 s and 1.6 GB on 2 CPU cores, 64 take 12 s.
Do not put frames of different videos into one window, because they would attend to each other.

Shapes: B windows, C colors, F frames, T = F / 2 time steps, H = W tokens (pixels in `BCFHW`), D
width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from kinesweep.features.encoders.hiera_attention import HieraAttention, max_pool_tokens

# Patch embedding, in frames x rows x columns; patches overlap, because the stride is smaller.
_KERNEL, _STRIDE, _PADDING = (3, 7, 7), (2, 4, 4), (1, 3, 3)
_EPS = 1e-6
_MLP_RATIO = 4

FRAMES_PER_TIME_STEP = _STRIDE[0]


@dataclass(frozen=True)
class HieraGeometry:
    """The size of a SignHiera; the default is `hiera_base_128x224`.

    Attributes:
        max_frames: Maximum number of frames of a window, F.
        size: Height and width of the frames in pixels.
        first_stage_width: Width of the first stage; each further stage doubles it.
        first_stage_heads: Number of heads of the first stage; each further stage doubles it.
        stage_depths: Number of layers of each stage.
        num_local_stages: Number of stages that attend within mask units only.
    """

    max_frames: int = 128
    size: int = 224
    first_stage_width: int = 96
    first_stage_heads: int = 1
    stage_depths: tuple[int, ...] = (2, 3, 16, 3)
    num_local_stages: int = 2

    def __post_init__(self) -> None:
        assert self.max_frames % FRAMES_PER_TIME_STEP == 0, "time steps are whole"
        assert self.size % (_STRIDE[1] * self.mask_unit_size) == 0, "mask units are whole"

    @property
    def mask_unit_size(self) -> int:
        """Return the side of a mask unit in tokens before pooling.

        After the last pooling it is 1.
        """
        return 2 ** (len(self.stage_depths) - 1)

    @property
    def grid_side(self) -> int:
        """Return the side of a frame in tokens before pooling."""
        return self.size // _STRIDE[1]

    @property
    def units_per_side(self) -> int:
        """Return the number of mask units along a side of a frame."""
        return self.grid_side // self.mask_unit_size

    @property
    def unit_pixels(self) -> int:
        """Return the side of a mask unit in pixels."""
        return self.mask_unit_size * _STRIDE[1]

    @property
    def output_width(self) -> int:
        """Return the width of the last stage, D."""
        return self.first_stage_width * 2 ** (len(self.stage_depths) - 1)


class HieraLayer(nn.Module):
    """A pre-norm transformer layer: attention and an MLP, each with a residual connection.

    Args:
        width: Input width.
        output_width: Output width.
        num_heads: Number of heads, A.
        pooled: Whether each 2 x 2 tokens are merged into one.
        unit: Side of a mask unit in tokens; None for attention over the whole window.
    """

    def __init__(
        self, width: int, output_width: int, num_heads: int, pooled: bool, unit: int | None
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.attn = HieraAttention(width, output_width, num_heads, pooled, unit)
        self.norm2 = nn.LayerNorm(output_width, eps=_EPS)
        self.mlp = nn.ModuleDict(
            {
                "fc1": nn.Linear(output_width, _MLP_RATIO * output_width),
                "fc2": nn.Linear(_MLP_RATIO * output_width, output_width),
            }
        )
        if pooled:
            self.proj = nn.Linear(width, output_width)

    def forward(
        self, x_BTHWD: Tensor, real_BT: Tensor | None, factors_B2: Tensor | None = None
    ) -> Tensor:
        """Apply the layer to tokens, (B, T, H, W, D); pooling halves H and W.

        Args:
            x_BTHWD: Tokens.
            real_BT: Mask of the real time steps; None if all time steps are real.
            factors_B2: Factors of the attention and of the MLP of each window (stochastic depth);
                None: 1.
        """
        normed_BTHWD = self.norm1(x_BTHWD)
        # The residual must have the pooled shape too; as in Hiera it starts from the normed input.
        if self.attn.pooled:
            x_BTHWD = max_pool_tokens(self.proj(normed_BTHWD))
        attended_BTHWD = self.attn(normed_BTHWD, real_BT)
        if factors_B2 is not None:
            attended_BTHWD = attended_BTHWD * factors_B2[:, 0, None, None, None, None]
        x_BTHWD = x_BTHWD + attended_BTHWD
        hidden_BTHWD = self.mlp["fc2"](gelu(self.mlp["fc1"](self.norm2(x_BTHWD))))
        if factors_B2 is not None:
            hidden_BTHWD = hidden_BTHWD * factors_B2[:, 1, None, None, None, None]
        return x_BTHWD + hidden_BTHWD


class SignHiera(nn.Module):
    """The SignHiera network, which maps pixels to one vector per time step.

    Args:
        geometry: Size of the network.
    """

    def __init__(self, geometry: HieraGeometry) -> None:
        super().__init__()
        self.geometry = geometry
        projection = nn.Conv3d(3, geometry.first_stage_width, _KERNEL, _STRIDE, _PADDING)
        self.patch_embed = nn.ModuleDict({"proj": projection})
        self.pos_embed_spatial = nn.Parameter(
            torch.zeros(1, geometry.grid_side**2, geometry.first_stage_width)
        )
        num_time_steps = geometry.max_frames // FRAMES_PER_TIME_STEP
        self.pos_embed_temporal = nn.Parameter(
            torch.zeros(1, num_time_steps, geometry.first_stage_width)
        )
        self.blocks = nn.ModuleList(
            layer
            for stage in range(len(geometry.stage_depths))
            for layer in _build_stage(geometry, stage)
        )

    def forward(self, pixels_BCFHW: Tensor, real_BT: Tensor | None = None) -> Tensor:
        """Encode normalized pixels to features, (B, T, D).

        Args:
            pixels_BCFHW: Normalized pixels, float; F is even and at most the geometry's
                `max_frames`. A shorter window uses the positions of the first time steps.
            real_BT: Mask of the real time steps, which do not attend to padding; None if all time
                steps are real.
        """
        x_BTHWD = self.embed_patches(pixels_BCFHW)
        for layer in self.blocks:
            x_BTHWD = layer(x_BTHWD, real_BT)
        return x_BTHWD.mean(dim=(2, 3))

    def embed_patches(self, pixels_BCFHW: Tensor) -> Tensor:
        """Embed the patches of windows and add their positions, (B, T, H, W, D).

        Args:
            pixels_BCFHW: Normalized pixels, float; see `forward`.
        """
        x_BTHWD = self.patch_embed["proj"](pixels_BCFHW).permute(0, 2, 3, 4, 1)
        grid, num_time_steps = self.geometry.grid_side, x_BTHWD.shape[1]
        spatial_1HWD = self.pos_embed_spatial.unflatten(1, (grid, grid))
        temporal_T11D = self.pos_embed_temporal[0, :num_time_steps, None, None]
        return x_BTHWD + (spatial_1HWD + temporal_T11D)


def _build_stage(geometry: HieraGeometry, stage: int) -> list[HieraLayer]:
    """Build the layers of a stage; the first layer pools the output of the previous stage.

    Args:
        geometry: Size of the network.
        stage: Index of the stage, counted from 0.
    """
    output_width = geometry.first_stage_width * 2**stage
    num_heads = geometry.first_stage_heads * 2**stage
    layers = []
    for layer_index in range(geometry.stage_depths[stage]):
        pooled = layer_index == 0 and stage > 0
        # The pooling layer still works on the input of the stage: with the width and the mask unit
        # of the previous stage, and local attention if that stage has it.
        input_stage = stage - pooled
        unit = (
            geometry.mask_unit_size // 2**input_stage
            if input_stage < geometry.num_local_stages
            else None
        )
        layers.append(
            HieraLayer(
                geometry.first_stage_width * 2**input_stage, output_width, num_heads, pooled, unit
            )
        )
    return layers
