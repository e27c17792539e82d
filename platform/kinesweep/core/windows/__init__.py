"""Windows of frames, which pass between `data` and `models` in pretraining."""
