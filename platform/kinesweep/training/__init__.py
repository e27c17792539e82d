"""Training of one seeded run, from the feature store to the best model, resumable after a kill.

`loop.run.train_run` trains a run and does not depend on Ray; `distributed.ray_train.train_on_ray`
runs it in a `TorchTrainer`. Two runs with the same identity (recipe hash, seed, store, threads,
workers, torch and transformers versions, processor) produce the same bits. To evaluate a finished
model, use `evaluation.evaluate.evaluate_model`, which loads its folder.
"""
