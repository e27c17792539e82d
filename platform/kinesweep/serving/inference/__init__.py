"""Inference in a replica: from the files of requests to texts, alternatives and attention."""
