"""The persistent state of a sweep: journal, metadata and run folders, and views of this state."""
