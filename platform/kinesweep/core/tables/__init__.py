"""Delimited text tables: splitting into records, quoting, number formats and writing."""
