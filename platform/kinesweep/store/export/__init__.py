"""Export of stored features to the layouts of other systems."""
