"""Estimators of the joints of SMPL in three dimensions, and their configuration."""
