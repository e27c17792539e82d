"""Kinesweep: finds, trains and hands over the best model that turns human motion into text.

Clips come in through `sources`, become features in a `store`, batches, a trained model and at last
a bundle; `sweeps` asks which configuration is best and how sure that is. Importing this package
alone loads nothing heavy.
"""

__version__ = "0.1.0"
