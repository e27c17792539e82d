"""Pose estimation of a corpus of videos on Ray Data."""
