"""Sources of 3-D skeletons: NumPy motions, packed or one file each, and their tables."""
