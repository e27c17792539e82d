"""Rows of the builders of sign-language-datasets, in the structure of each, become annotations."""

from typing import Any

import pytest

from kinesweep.sources.prepare.clip_annotation import ClipAnnotation
from kinesweep.sources.prepare.media.prompts import Prompts
from kinesweep.sources.prepare.tfds.annotation_rows import build_annotations
from kinesweep.sources.prepare.tfds.tfds_corpora import TFDS_CORPORA

POSE = {"media": "poses/train/x.pose", "frames": 9, "fps": 25.0}
NO_POSE = {"media": None, "reason": "no_pose"}


def build(
    name: str, *rows: dict[str, Any], media: str = "poses"
) -> tuple[list[ClipAnnotation], list[str]]:
    result = build_annotations(TFDS_CORPORA[name], rows, "train", Prompts(), media)
    return result.annotations, [row.reason for row in result.dropped]


def short(clip: ClipAnnotation) -> tuple[object, ...]:
    (file,) = clip.candidate_files
    return (clip.id, file.path, file.start_ms, file.end_ms, clip.text, clip.document, clip.order)


def test_a_clip_for_each_view_of_a_sign() -> None:
    views = {"name": ["front", "side"], "video": ["u", "v"], "pose": [POSE, NO_POSE]}
    row = {"id": "13", "glosses": ["HAUS1", "HAUS2"], "hamnosys": "", "views": views}
    (clip,), dropped = build("dgs_types", row)
    assert short(clip) == ("13_front", "poses/train/x.pose", 0, 0, "HAUS1", "13", 0)
    assert (clip.gloss, clip.decoder_prompt, dropped) == ("HAUS1", "__de__", ["no_pose"])


def test_a_clip_for_each_subtitle() -> None:
    subtitles = {"start_time": [0.5, 2.25], "end_time": [2.0, 3.0], "text": ["un", "deux"]}
    clips, _ = build("mediapi_skel", {"id": "v", "subtitles": subtitles, "pose": POSE})
    assert [short(clip) for clip in clips] == [
        ("v-0000", "poses/train/x.pose", 500, 2000, "un", "v", 0),
        ("v-0001", "poses/train/x.pose", 2250, 3000, "deux", "v", 1),
    ]
    assert (clips[0].encoder_prompt, clips[0].decoder_prompt) == ("__lsf__", "__fr__")


def test_a_sign_and_its_example() -> None:
    row = {
        "id": "7",
        "name": "Casa",
        "exampleText": "La casa è grande.",
        "spokenLanguage": "it",
        "signedLanguage": "ch-it",
        "pose": POSE,
        "examplePose": POSE,
    }
    clips, _ = build("signsuisse", row)
    assert [(clip.id, clip.text, clip.decoder_prompt) for clip in clips] == [
        ("7", "Casa", "__it__"),
        ("7-example", "La casa è grande.", "__it__"),
    ]


@pytest.mark.parametrize("media", ["poses", "videos"])
def test_the_videos_of_subtitles_are_spans_and_their_poses_are_not(media: str) -> None:
    subtitle = {"start": "0:00:01.200000", "end": "0:01:02", "text": "gut"}
    row = {"id": "focus_12", "subtitle": subtitle, "pose": POSE, "video": {"media": "videos/x.mp4"}}
    (clip,), _ = build("wmt_slt", row, media=media)
    expected = ("videos/x.mp4", 1200, 62000) if media == "videos" else (POSE["media"], 0, 0)
    assert short(clip) == ("focus_12", *expected, "gut", "focus", 12)


def test_a_document_whose_people_have_videos() -> None:
    sentences = [
        {"participant": "S1", "start": 900, "end": 1500, "dutch": "twee", "glosses": []},
        {
            "participant": "S2",
            "start": 100,
            "end": 800,
            "dutch": "een",
            "glosses": [
                {"start": 300, "end": 400, "gloss": "B C", "hand": "R"},
                {"start": 120, "end": 200, "gloss": "A", "hand": "L"},
            ],
        },
    ]
    videos = {"a": {"media": "videos/a.mpg"}, "b": {"media": "videos/b.mpg"}}
    row = {"id": "CNGT1", "paths": {"eaf": "x", "videos": videos}, "sentences": sentences}
    (first, second), _ = build("ngt_corpus", row, media="videos")
    assert short(first) == ("CNGT1_b0000", "videos/b.mpg", 100, 800, "een", "CNGT1", 0)
    assert short(second) == ("CNGT1_a0001", "videos/a.mpg", 900, 1500, "twee", "CNGT1", 1)
    assert (first.gloss, first.signer, second.signer) == ("A B_C", "CNGT1_b", "CNGT1_a")


def test_a_single_sentence_of_a_document_is_a_whole_file() -> None:
    sentence = {
        "id": "a5",
        "participant": "B",
        "start": 640,
        "end": 990,
        "german": "Guten Tag",
        "english": "",
        "glosses": {"start": [800, 650], "end": [900, 700], "gloss": ["TAG1", "GUT1"]},
    }
    row = {"id": "11_a5", "document_id": "11", "sentence": sentence, "pose": POSE}
    (clip,), _ = build("dgs_corpus", {**row, "signers": {"b": "SH-2"}})
    assert short(clip) == ("11_a5", "poses/train/x.pose", 0, 0, "Guten Tag", "11", 640)
    assert (clip.gloss, clip.signer) == ("GUT1 TAG1", "SH-2")


def test_languages_of_rows_and_corpora() -> None:
    row = {
        "id": "a_gsl",
        "text": "Καλημέρα",
        "gloss": "KALIMERA",
        "signed_language": "GSL",
        "spoken_language": "el",
        "pose": POSE,
    }
    (clip,), _ = build("dicta_sign", row)
    assert (clip.encoder_prompt, clip.decoder_prompt, clip.language) == ("__gsl__", "__el__", "el")
    meaning = {"english": "sister", "turkish": "kız kardeş"}
    (clip,), _ = build("autsl", {"id": "s_1", "signer": 4, "meaning": meaning, "pose": POSE})
    assert (clip.text, clip.signer, clip.decoder_prompt) == ("kız kardeş", "4", "__tr__")
