"""Batches: from a feature store to padded tensors.

`text_tokenizer.TextTokenizer` is the tokenizer, `train_dataset.TrainDataset` the endless training
data of one rank, and `evaluation.build_eval_batches` makes the fixed batches for scoring. Nothing
here depends on a model.
"""
