"""Batches: from a feature store to padded tensors.

`text_tokenizer.TextTokenizer` is the tokenizer, `train_dataset.TrainDataset` is the endless
training data of one rank, and `evaluation.build_eval_batches` builds the fixed batches for scoring.
Nothing here depends on a model.
"""
