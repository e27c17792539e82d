"""Scores of the side tasks: a model's answers to questions about clips."""
