"""Windows of decoded frames for pretraining: sampling, augmentation and batches."""
