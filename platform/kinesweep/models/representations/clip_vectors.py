"""The vectors of one clip inside a translator: encoded frames, and hidden states of a text.

The frame vectors are those that enter the language model, after encoders, fusion and truncation.
The hidden states are those of the last layer, from which the tokens of the text are predicted.

Shapes: N vectors of a stream, E width of the language model's input, L tokens, H width of its
hidden states.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kinesweep.core.batch import Batch
from kinesweep.models.attention_maps import record_fusion_outputs
from kinesweep.models.backbones import get_backbone_ops
from kinesweep.models.encoders.frame_encoder import SourceSpan
from kinesweep.models.fusion import ChannelFusion
from kinesweep.models.translator import Translator

FUSED_STREAM = "fused"
"""Name of the vectors of several streams that `channel` fusion has joined."""


@dataclass(frozen=True)
class StreamVectors:
    """The vectors of one stream that enter the language model.

    Attributes:
        vectors_NE: Vectors.
        spans: Frames that each vector represents; empty if the encoder does not say so.
        timed_by: Stream whose frames `spans` counts.
    """

    vectors_NE: Tensor
    spans: tuple[SourceSpan, ...]
    timed_by: str


@dataclass(frozen=True)
class ClipVectors:
    """The vectors of one clip inside a translator.

    Attributes:
        streams: Stream → vectors; without streams that the clip lacks.
        hidden_LH: Hidden states; row l is the one from which token l of the text is predicted.
    """

    streams: dict[str, StreamVectors]
    hidden_LH: Tensor


@torch.no_grad()
def compute_clip_vectors(model: Translator, batch: Batch) -> ClipVectors:
    """Compute the vectors of a clip, with its labels as the text.

    Args:
        model: Translator in evaluation mode.
        batch: Batch of one clip, without padding; its labels are the tokens of the text.

    Raises:
        InputError: If the clip does not fit the model.
    """
    with record_fusion_outputs(model.fusion) as fusion_outputs:
        # As in generation, so that the vectors are those from which the text was written.
        x_BNE, mask_BN = model.build_inputs_embeds(**batch.get_generate_kwargs())
    backbone_ops = get_backbone_ops(model.config.get_model_config().backbone)
    hidden_BLH = backbone_ops.compute_hidden_states(model.backbone, x_BNE, mask_BN, batch.labels_BL)
    fusion: Any = model.fusion
    is_joined = isinstance(fusion, ChannelFusion) and len(fusion.streams) > 1
    streams = {}
    for (name, is_separator), (vectors_BNE, vector_mask_BN) in zip(
        fusion.output_origins, fusion_outputs[0], strict=True
    ):
        num_vectors = int(vector_mask_BN[0].sum())
        # Separators are learned vectors that represent no frame.
        if is_separator or not num_vectors:
            continue
        timed_by = name
        if is_joined:
            present = [other for other, mask in batch.frame_masks.items() if mask[0].any()]
            # Joined vectors have the times of the stream whose length they have.
            timed_by = fusion.find_length_stream(present)
        num_frames = int(batch.frame_masks[timed_by][0].sum())
        # Vectors that did not fit into the language model were cut off at the end.
        spans = tuple(model.get_source_spans(timed_by, num_frames)[:num_vectors])
        vectors_NE = vectors_BNE[0, vector_mask_BN[0]]
        streams[FUSED_STREAM if is_joined else name] = StreamVectors(vectors_NE, spans, timed_by)
    return ClipVectors(streams, hidden_BLH[0])
