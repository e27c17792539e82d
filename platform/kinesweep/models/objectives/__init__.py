"""Objectives: from logits and aligned labels to a loss."""
