"""From a store to batches: text to tokens, clips to rows, rows side by side.

`text.Text` is the tokenizer, `stream.TrainStream` the endless training data of one rank,
`evaluation.eval_batches` the fixed batches that are scored. Nothing here knows a model.
"""
