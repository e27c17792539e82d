"""Ways of using a bundle: with other prompts or decoding, and for vectors instead of texts."""
