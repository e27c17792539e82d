"""Shared data types and configuration used by every layer of the package.

Clips, schemas, batches, errors, units, run logs and configuration. Nothing here reads media, trains
models or runs searches. Each concept has its own module and is imported from that module.
"""
