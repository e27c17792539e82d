"""Training: one seeded run, from store to best model, killed and resumed or not.

`run.train_run` is the whole of it and knows no Ray; `distributed.train_on_ray` puts it into a
`TorchTrainer`. The same identity (recipe hash, seed, store, threads, workers, torch, processor)
gives the same bits. Not for inference alone: `evaluate.evaluate_model` loads a finished folder.
"""
