"""Decoding of single clips together with what the model computes for them."""
