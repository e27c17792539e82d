"""Retrieval of texts by videos and of videos by texts: ranks, recall and its level by chance."""
