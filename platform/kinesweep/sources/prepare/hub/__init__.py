"""Data sets in the format of the Hugging Face library `datasets`, from the Hub or from a folder."""
