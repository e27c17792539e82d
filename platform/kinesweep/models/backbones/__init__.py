"""Backbones: language models that read vectors and write tokens, chosen by `kind`.

Each entry of the table creates a Hugging Face model (`create`, or `rebuild` from a saved
configuration) and knows how to call it (`embed`, `logits`, `generate`). The Hugging Face model
holds all weights, so saving, weight tying and gradient checkpointing remain Hugging Face's.
"""

from kinesweep.models.backbones.causal import Causal
from kinesweep.models.backbones.seq2seq import Seq2Seq

BACKBONES: dict[str, Seq2Seq | Causal] = {
    "seq2seq": Seq2Seq(),
    "causal": Causal(),
}
