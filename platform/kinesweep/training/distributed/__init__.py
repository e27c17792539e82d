"""Distributed training: the Ray Train driver, and FSDP sharding."""
