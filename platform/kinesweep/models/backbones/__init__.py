"""Backbones: language models that read vectors and write tokens, chosen by `kind`.

Each entry of the table creates a Hugging Face model (`create_model`, `create_from_saved_config`)
and calls it (`embed_tokens`, `compute_logits`, `generate`). The Hugging Face model holds all
weights, so saving, weight tying and gradient checkpointing remain Hugging Face's.
"""

from kinesweep.models.backbones.causal import CausalBackbone
from kinesweep.models.backbones.seq2seq import Seq2SeqBackbone

BACKBONES: dict[str, Seq2SeqBackbone | CausalBackbone] = {
    "seq2seq": Seq2SeqBackbone(),
    "causal": CausalBackbone(),
}
