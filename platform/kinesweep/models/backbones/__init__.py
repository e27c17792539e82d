"""Backbones: language models that read vectors and write tokens, chosen by `kind`.

A backbone's entry in the table makes the Hugging Face model (`create`, and `rebuild` from a saved
configuration) and knows how to feed it (`embed`, `logits`, `generate`); the model itself holds all
the weights, so saving, tying and checkpointing stay Hugging Face's.
"""

from kinesweep.models.backbones.causal import Causal
from kinesweep.models.backbones.seq2seq import Seq2Seq

BACKBONES: dict[str, Seq2Seq | Causal] = {
    "seq2seq": Seq2Seq(),
    "causal": Causal(),
}
