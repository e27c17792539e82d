"""The side tasks that a model can learn besides translation: their questions and batches."""
