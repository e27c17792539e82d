"""Choices of the optimization that the section `training` consists of."""
