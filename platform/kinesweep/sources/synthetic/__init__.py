"""A synthetic sample corpus in an invented sign language, generated entirely by code."""

from kinesweep.sources.synthetic.corpus import DEFAULT_CLIPS, write_sample
from kinesweep.sources.synthetic.summary import SampleSummary

__all__ = ["DEFAULT_CLIPS", "SampleSummary", "write_sample"]
