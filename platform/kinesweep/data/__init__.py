"""Batches: from a feature store to padded tensors.

`text.TextTokenizer` is the tokenizer, `stream.TrainDataset` the endless training data of one rank, and
`evaluation.eval_batches` makes the fixed batches for scoring. Nothing here depends on a model.
"""
