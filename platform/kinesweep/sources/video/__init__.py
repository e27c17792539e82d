"""Sources of videos and image folders: decoding, frame by frame."""
