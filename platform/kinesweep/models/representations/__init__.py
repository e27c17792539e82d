"""The vectors inside a translator: its language model's input and its last hidden states."""
