"""Sources of features that were computed elsewhere: `.pt` files and HDF5 shards."""
