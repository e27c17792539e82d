"""Attention of Hiera: within mask units or over all of them, with optional pooling of the queries.

Shapes: B windows, T time steps, H = W tokens, D width, N groups of tokens that attend to each
other, L tokens of a group, A heads, E width of a head.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class HieraAttention(nn.Module):
    """Multi-head attention within mask units or over the window, with optional query pooling.

    Args:
        width: Input width.
        output_width: Output width.
        num_heads: Number of heads, A.
        pooled: Whether each 2 x 2 queries are merged into one by their maximum.
        unit: Side of a mask unit in tokens; None for attention over the whole window.
    """

    def __init__(
        self, width: int, output_width: int, num_heads: int, pooled: bool, unit: int | None
    ) -> None:
        super().__init__()
        self.heads = num_heads
        self.pooled = pooled
        self.unit = unit
        self.qkv = nn.Linear(width, 3 * output_width)
        self.proj = nn.Linear(output_width, output_width)

    def forward(self, x_BTHWD: Tensor, real_BT: Tensor | None) -> Tensor:
        """Compute attention between tokens, (B, T, H, W, D).

        If queries are pooled, H and W of the result are half of those of the input.

        Args:
            x_BTHWD: Tokens.
            real_BT: Mask of the real time steps, to which attention is limited; None if all time
                steps are real.
        """
        q_BTHWD, k_BTHWD, v_BTHWD = self.qkv(x_BTHWD).chunk(3, dim=-1)
        unit = self.unit
        q_unit = unit
        if self.pooled:
            q_BTHWD = max_pool_tokens(q_BTHWD)
            # Pooling halves the side of a unit of queries; keys and values keep theirs.
            q_unit = unit and unit // 2
        mask_B11L = None
        # Mask units lie within one time step, which is either real or padding as a whole, so only
        # attention over the window needs a mask.
        if real_BT is not None and unit is None:
            tokens = k_BTHWD.shape[2] * k_BTHWD.shape[3]
            mask_B11L = real_BT.repeat_interleave(tokens, dim=1)[:, None, None]
        y_NALE = scaled_dot_product_attention(
            self._split_groups(q_BTHWD, q_unit),
            self._split_groups(k_BTHWD, unit),
            self._split_groups(v_BTHWD, unit),
            attn_mask=mask_B11L,
        )
        y_NLD = y_NALE.transpose(1, 2).flatten(2)
        return self.proj(_merge_groups(y_NLD, q_BTHWD.shape, q_unit))

    def _split_groups(self, x_BTHWD: Tensor, unit: int | None) -> Tensor:
        """Split tokens into groups that attend to each other, and into heads, (N, A, L, E).

        Args:
            x_BTHWD: Tokens.
            unit: Side of a mask unit in tokens; None for one group per window, so that N is B.
        """
        if unit is None:
            x_NLD = x_BTHWD.flatten(1, 3)
        else:
            x_BTHUWUD = x_BTHWD.unflatten(3, (-1, unit)).unflatten(2, (-1, unit))
            x_NLD = x_BTHUWUD.transpose(3, 4).flatten(4, 5).flatten(0, 3)
        return x_NLD.unflatten(2, (self.heads, -1)).transpose(1, 2)


def max_pool_tokens(x_BTHWD: Tensor) -> Tensor:
    """Merge each 2 x 2 tokens of a time step into one by their maximum, (B, T, H / 2, W / 2, D)."""
    # The later dimension first, so that the index of the earlier one stays valid.
    return x_BTHWD.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax(dim=(3, 5))


def _merge_groups(x_NLD: Tensor, shape: torch.Size, unit: int | None) -> Tensor:
    """Merge the groups that `_split_groups` made into tokens of the shape (B, T, H, W, D).

    Args:
        x_NLD: Tokens of each group, with all heads.
        shape: Shape of the result.
        unit: Side of a mask unit in tokens; None if there is one group per window.
    """
    if unit is None:
        return x_NLD.view(shape)
    batch, num_time_steps, height, width, _ = shape
    x_BTHWUUD = x_NLD.view(batch, num_time_steps, height // unit, width // unit, unit, unit, -1)
    return x_BTHWUUD.transpose(3, 4).reshape(shape)
