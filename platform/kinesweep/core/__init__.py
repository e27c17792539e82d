"""Shared data types and functions used by every layer of the package.

Clips, schemas, batches, errors, units, run loggers and atomic files. Nothing here reads media,
trains models or runs sweeps. Each concept has its own module and is imported from that module.
"""
