"""The embedded sample corpus: an invented sign language, signed and written by code."""

from kinesweep.sources.sample.corpus import DEFAULT_CLIPS, SampleSummary, write_sample

__all__ = ["DEFAULT_CLIPS", "SampleSummary", "write_sample"]
