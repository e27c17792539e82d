"""Backbones: language models that read vectors and write tokens, chosen by `kind`.

Each entry of the table creates a Hugging Face model (`create_model`, `create_from_saved_config`)
and calls it (`embed_tokens`, `compute_logits`, `generate`). The Hugging Face model holds all
weights, so saving, weight tying and gradient checkpointing remain Hugging Face's.
"""

from kinesweep.config.parts import build_part
from kinesweep.config.recipe.model.backbone import BackboneConfig, BackbonePart
from kinesweep.models.backbones.causal import CausalBackbone
from kinesweep.models.backbones.seq2seq import Seq2SeqBackbone

AnyBackboneOps = Seq2SeqBackbone | CausalBackbone
BACKBONES: dict[str, AnyBackboneOps] = {
    "seq2seq": Seq2SeqBackbone(),
    "causal": CausalBackbone(),
}


def get_backbone_ops(config: BackboneConfig) -> AnyBackboneOps:
    """Return the operations on backbones of a kind, ours or of another package.

    Args:
        config: The recipe's `model.backbone` section.

    Raises:
        InputError: If the package of a backbone is not installed, or its class cannot be imported
            or built or lacks a method.
    """
    if not isinstance(config, BackbonePart):
        return BACKBONES[config.kind]
    backbone_ops: AnyBackboneOps = build_part(config, ())
    return backbone_ops
