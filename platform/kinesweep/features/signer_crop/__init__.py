"""Squares around the signer: found by poses or detectors, and cut from the frames of videos."""
