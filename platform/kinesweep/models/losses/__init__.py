"""Loss functions: from logits and aligned labels, or from embeddings, to a scalar."""
