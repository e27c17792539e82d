"""Captions of videos: file formats, joining of rolling captions, cleaning of texts, file names.

A caption file becomes a `CaptionTrack` of raw cues (`caption_file`), whose rolling lines are joined
once each (`rolling_captions`) and whose texts are freed of markup, marks and speaker names
(`caption_text`). `caption_clips` chains the three; each cue becomes a caption or is counted with a
reason.
"""
