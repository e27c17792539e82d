"""Random augmentation of the pixels of video clips."""
