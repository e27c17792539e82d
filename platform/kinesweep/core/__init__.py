"""The words that every floor shares.

Clips, schemas, batches, errors, units, run logs and configuration. Nothing here reads media, trains
or searches. Each word stands in a module of its own and is imported from there.
"""
