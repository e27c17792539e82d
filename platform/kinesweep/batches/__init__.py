"""Batches: from a feature store to padded tensors.

`text.Text` is the tokenizer, `stream.TrainStream` the endless training data of one rank, and
`evaluation.eval_batches` makes the fixed batches for scoring. Nothing here depends on a model.
"""
