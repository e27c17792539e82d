"""The format of a feature store: shards, index, fingerprints, staging."""
