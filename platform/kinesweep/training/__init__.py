"""Training of one seeded run, from the feature store to the best model, resumable after a kill.

`run.train_run` trains a run and does not depend on Ray; `ray_train.train_on_ray` runs it in a
`TorchTrainer`. Two runs with the same identity (recipe hash, seed, store, threads, workers, torch
and transformers versions, processor) produce the same bits. For inference alone, use
`evaluate.evaluate_model`, which loads the folder of a finished model.
"""
