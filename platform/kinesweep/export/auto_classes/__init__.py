"""Bundles in Hugging Face's Auto classes: a processor and the pipeline task `motion-to-text`.

`import kinesweep` registers both; they are imported when transformers looks for them.
"""
