"""Combined stores: the streams of several stores over the same clips."""
