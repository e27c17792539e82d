"""Conversion of the rows that the process with TensorFlow Datasets wrote to annotations of clips.

A row contains the values of one example; its media fields are `{"media": path or None, "reason"}`.
Rows that cannot become clips are counted with a reason. The layout of a corpus selects the
function.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kinesweep.sources.prepare.clip_annotation import ClipAnnotation, PoseFile
from kinesweep.sources.prepare.media.dotted_paths import get_value
from kinesweep.sources.prepare.media.prompts import Prompts, make_language_tag
from kinesweep.sources.prepare.split_annotations import DroppedRow, SplitAnnotations
from kinesweep.sources.prepare.tfds.tfds_corpora import TfdsCorpus
from kinesweep.sources.prepare.times import parse_milliseconds

# Letters of `sign-language-datasets` for the two people of a document, by names of its readers.
_PERSON_BY_PARTICIPANT = {"A": "a", "B": "b", "S1": "a", "S2": "b"}


def build_annotations(
    corpus: TfdsCorpus, rows: Iterable[dict[str, Any]], split: str, prompts: Prompts, media: str
) -> SplitAnnotations:
    """Build the annotations of a split.

    Args:
        corpus: Corpus whose layout the rows have.
        rows: Rows in the order of the split.
        split: Name of the split, for the locations of rows.
        prompts: Language tags that replace those of the corpus.
        media: `poses` or `videos`, the media files that the clips refer to.
    """
    result = SplitAnnotations()
    for number, row in enumerate(rows, 1):
        location = f"{split}.jsonl:{number}"
        # `data_type=sentence` makes the builder of documents give single sentences.
        layout = "sentence" if "sentence" in row else corpus.layout
        for clip in _LAYOUTS[layout](corpus, row, media):
            if clip.fault:
                result.dropped.append(DroppedRow(location, clip.fault))
            else:
                annotation = replace(clip.annotation, row=location)
                result.annotations.append(_set_prompts(annotation, corpus, prompts))
    return result


@dataclass(frozen=True)
class _Clip:
    """A clip of a row, or the reason why there is none."""

    annotation: ClipAnnotation
    fault: str = ""


def _build_clips(corpus: TfdsCorpus, row: dict[str, Any], media: str) -> Iterator[_Clip]:
    """Build the clips of an example that is a clip itself, or an isolated sign and an example."""
    for fields in corpus.clips:
        clip_id = row["id"] + fields.suffix
        document, order = _split_id(row["id"]) if corpus.id_is_ordered else (row["id"], 0)
        media_field = fields.media
        span: dict[str, str] = {}
        if media == "videos":
            # The videos of subtitles are not cut, unlike the poses.
            media_field, span = corpus.video_fields[0], get_value(row, "subtitle") or {}
        yield _make_clip(
            get_value(row, media_field),
            ClipAnnotation(
                id=clip_id,
                candidate_files=(),
                text=_get_text(row, fields.text),
                encoder_prompt=make_language_tag(_get_text(row, fields.sign_language)),
                decoder_prompt="",
                document=document,
                order=order,
                signer=_get_text(row, fields.signer),
                gloss=_get_text(row, fields.gloss),
                language=_get_text(row, fields.spoken_language),
            ),
            tuple(parse_milliseconds(span[key]) for key in ("start", "end")) if span else None,
        )


def _build_views(corpus: TfdsCorpus, row: dict[str, Any], media: str) -> Iterator[_Clip]:
    """Build a clip for each view of a sign."""
    (fields,) = corpus.clips
    names = get_value(row, fields.suffix)
    for name, file in zip(names, get_value(row, fields.media), strict=True):
        text = _get_text(row, fields.text)
        clip_id = f"{row['id']}_{name}"
        yield _make_clip(file, ClipAnnotation(clip_id, (), text, "", "", row["id"], 0, gloss=text))


def _build_sentences(corpus: TfdsCorpus, row: dict[str, Any], media: str) -> Iterator[_Clip]:
    """Build a clip for each sentence of a document; two people sign in files of their own."""
    # The readers list one person after the other; clips of a document are in order of time.
    sentences = sorted(row["sentences"], key=lambda sentence: sentence["start"])
    for order, sentence in enumerate(sentences):
        person = _PERSON_BY_PARTICIPANT[sentence["participant"]]
        files = row["paths"]["videos"] if media == "videos" else row["poses"]
        sentence_id = sentence.get("id", f"{person}{order:04d}")
        yield _make_clip(
            files[person],
            ClipAnnotation(
                id=f"{row['id']}_{sentence_id}",
                candidate_files=(),
                text=sentence.get(corpus.clips[0].text) or "",
                encoder_prompt="",
                decoder_prompt="",
                document=row["id"],
                order=order,
                signer=_get_signer(row, row["id"], person),
                gloss=_join_glosses(sentence["glosses"]),
            ),
            (sentence["start"], sentence["end"]),
        )


def _build_sentence(corpus: TfdsCorpus, row: dict[str, Any], media: str) -> Iterator[_Clip]:
    """Build the clip of an example that is one sentence, whose poses are cut."""
    sentence = row["sentence"]
    person = _PERSON_BY_PARTICIPANT[sentence["participant"]]
    glosses = sentence["glosses"]
    entries = [
        {"start": start, "gloss": gloss}
        for start, gloss in zip(glosses["start"], glosses["gloss"], strict=True)
    ]
    yield _make_clip(
        row.get("pose"),
        ClipAnnotation(
            id=row["id"],
            candidate_files=(),
            text=sentence.get(corpus.clips[0].text) or "",
            encoder_prompt="",
            decoder_prompt="",
            document=row["document_id"],
            # A single sentence does not tell its position; start times have the same order.
            order=int(sentence["start"]),
            signer=_get_signer(row, row["document_id"], person),
            gloss=_join_glosses(entries),
        ),
    )


def _build_subtitles(corpus: TfdsCorpus, row: dict[str, Any], media: str) -> Iterator[_Clip]:
    """Build a clip for each subtitle of a video, a span in seconds."""
    subtitles = row["subtitles"]
    columns = (subtitles[key] for key in ("start_time", "end_time", "text"))
    for order, (start_s, end_s, text) in enumerate(zip(*columns, strict=True)):
        yield _make_clip(
            row.get("pose"),
            ClipAnnotation(f"{row['id']}-{order:04d}", (), text, "", "", row["id"], order),
            # Rounded to microseconds, because products of decimal fractions are inexact.
            (round(1000 * start_s, 3), round(1000 * end_s, 3)),
        )


_LAYOUTS: dict[str, Callable[[TfdsCorpus, dict[str, Any], str], Iterator[_Clip]]] = {
    "clip": _build_clips,
    "views": _build_views,
    "sentences": _build_sentences,
    "sentence": _build_sentence,
    "subtitles": _build_subtitles,
}


def _make_clip(
    file: Mapping[str, Any] | None,
    annotation: ClipAnnotation,
    span_ms: tuple[float, ...] | None = None,
) -> _Clip:
    """Add the media file to an annotation, or give the reason why there is none.

    Args:
        file: Media field of the row, None if the row has none.
        annotation: Annotation without files.
        span_ms: Start and end in the file in milliseconds; None for the whole file.
    """
    if not file or not file["media"]:
        return _Clip(annotation, file["reason"] if file else "no_media")
    start, end = span_ms or (0, 0)
    pose_file = PoseFile(file["media"], start, end, is_span=span_ms is not None)
    return _Clip(replace(annotation, candidate_files=(pose_file,)))


def _set_prompts(
    annotation: ClipAnnotation, corpus: TfdsCorpus, prompts: Prompts
) -> ClipAnnotation:
    """Fill in the language and the prompts of an annotation."""
    language = prompts.language or annotation.language or corpus.spoken_language
    encoder = annotation.encoder_prompt or make_language_tag(corpus.sign_language)
    return replace(
        annotation,
        language=language,
        encoder_prompt=encoder if prompts.encoder is None else prompts.encoder,
        decoder_prompt=make_language_tag(language) if prompts.decoder is None else prompts.decoder,
    )


def _get_text(row: dict[str, Any], path: str) -> str:
    """Return the text at a dotted path, the first of several; empty if there is none."""
    value = get_value(row, path) if path else ""
    if isinstance(value, list):
        value = value[0] if value else ""
    return "" if value is None else str(value)


def _split_id(clip_id: str) -> tuple[str, int]:
    """Split an id such as `11August_2010-7` or `video_7` into its document and position."""
    separator = max("-", "_", key=clip_id.rfind)
    document, _, number = clip_id.rpartition(separator)
    return (document, int(number)) if document and number.isdigit() else (clip_id, 0)


def _get_signer(row: dict[str, Any], document: str, person: str) -> str:
    """Return the name of a person, or one that is unique to the document if it is not known."""
    # Unknown people of two documents must not count as one when splits are made by signer.
    return str(row.get("signers", {}).get(person) or f"{document}_{person}")


def _join_glosses(glosses: Iterable[Mapping[str, Any]]) -> str:
    """Join the glosses of a sentence in the order of their starts."""
    ordered = sorted(glosses, key=lambda gloss: gloss["start"])
    return " ".join("_".join(str(gloss["gloss"]).split()) for gloss in ordered)
