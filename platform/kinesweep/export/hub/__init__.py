"""Bundles on the Hugging Face Hub: metadata of the card, upload, download, and errors."""
