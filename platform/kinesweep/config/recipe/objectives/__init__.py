"""Recipe sections of training objectives besides translation: alignment and sign contrast."""
