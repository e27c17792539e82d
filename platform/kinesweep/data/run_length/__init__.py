"""The length of runs: the batches of an epoch, and the steps of a run that is given in epochs.

`epoch_planner.EpochPlanner` plans the batches of each epoch, from which `TrainDataset` trains.
`step_counts.resolve_training` turns epochs and ratios of a recipe into numbers of steps before
training.
"""
