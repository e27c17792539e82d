"""Sign_LLaVA's annotation of a split: videos, the order of their clips, texts and keywords.

`{video: {clip_order: [clip, …], clip: {translation, paraphrases, keywords}, …}}`; the clips may
also stand together under one key `clip` beside `clip_order`. A clip's first text is its
translation, the paraphrases are further references. What does not fit is named by video and clip,
all of it at once: a clip that the order has and the annotation has not (or the reverse) would
otherwise be a sentence that silently is not learnt. Runs of white space in texts are one space.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.core.clip import Clip, RowProblem
from kinesweep.core.config import near_miss
from kinesweep.sources.json_file import Object, kind_of, read_object
from kinesweep.sources.rows import Rows
from kinesweep.sources.table import Fault

ORDER = "clip_order"
TOGETHER = "clip"
"""Key under which the clips of a video may stand, in place of one key each."""
KEYS = ("translation", "paraphrases", "keywords")


def clip_id(video: str, clip: str) -> str:
    """What a clip is called in the corpus; neither name holds a slash."""
    return f"{video}/{clip}"


@dataclass(frozen=True)
class Annotation:
    """A file of annotations.

    Attributes:
        path: the file.
        name: how messages call it.
        split: which split it makes.
        ignored: keys of videos and clips that may be there unused.
    """

    path: Path
    name: str
    split: str
    ignored: tuple[str, ...] = ()

    def read(self) -> Rows:
        """Every clip, without its media, and every fault."""
        videos, faults = read_object(self.path, self.name)
        found = Rows(faults=faults)
        found.faults += _repeated(self.name, videos, "video")
        if not videos and not found.faults:
            found.faults.append((self.name, "holds no video"))
        for video, content in videos.items():
            self._read_video(video, content, found)
        return found

    def _read_video(self, video: str, content: Any, found: Rows) -> None:
        where = f"{self.name}:{video}"
        faults = _name_faults(where, video, "video")
        if not isinstance(content, Object):
            faults.append((where, f"holds {kind_of(content)}, but must hold an object"))
        else:
            faults += _repeated(where, content, "key")
            order, wrong = _order(where, content)
            faults += wrong
            clips = _clips(order, content, self.ignored)
            if not wrong:
                faults += _unmatched(where, order, clips)
            for number, clip in enumerate(order):
                if clip in clips:
                    self._read_clip((video, clip, number), clips[clip], found)
        found.faults += faults

    def _read_clip(self, place: tuple[str, str, int], content: Any, found: Rows) -> None:
        video, clip, number = place
        where = f"{self.name}:{clip_id(video, clip)}"
        found.lines[where] = len(found.lines)
        faults = _clip_faults(where, content, self.ignored)
        if faults:
            found.faults += faults
            return
        text = _spaced(content["translation"])
        if not text:
            problem = RowProblem(where, clip_id(video, clip), "empty_text", "no `translation`")
            found.problems.append(problem)
            return
        paraphrases = tuple(map(_spaced, content.get("paraphrases", ())))
        found.clips.append(
            Clip(
                id=clip_id(video, clip),
                split=self.split,
                media="",
                texts=(text, *paraphrases),
                document=video,
                order=number,
                row=where,
                keywords=tuple(map(_spaced, content.get("keywords", ()))),
            )
        )


def _order(where: str, content: Object) -> tuple[list[str], list[Fault]]:
    """The clips of a video in order, each once, and what is wrong with their list."""
    order = content.get(ORDER)
    if order is None:
        return [], [(where, f"has no `{ORDER}`, the list of its clips")]
    if not isinstance(order, list) or not all(isinstance(clip, str) for clip in order):
        return [], [(where, f"`{ORDER}` must be a list of names of clips")]
    faults = [(where, f"`{ORDER}` is empty")] if not order else []
    for clip in dict.fromkeys(order):
        if order.count(clip) > 1:
            faults.append((clip_id(where, clip), f"stands {order.count(clip)} times in `{ORDER}`"))
        faults += _name_faults(clip_id(where, clip), clip, "clip")
    return list(dict.fromkeys(order)), faults


def _clips(order: Sequence[str], content: Object, ignored: Sequence[str]) -> Object:
    """Name → annotation of the clips of a video."""
    own = Object([(k, v) for k, v in content.items() if k != ORDER and k not in ignored])
    together = own.get(TOGETHER)
    alone = list(own) == [TOGETHER] and TOGETHER not in order
    return together if alone and isinstance(together, Object) else own


def _unmatched(where: str, order: Sequence[str], clips: Object) -> list[Fault]:
    """Clips that have no annotation, annotations that no order names, names that come twice."""
    lacking = [
        (clip_id(where, clip), f"stands in `{ORDER}`, but has no annotation")
        for clip in order
        if clip not in clips
    ]
    unlisted = [
        (clip_id(where, clip), f"has an annotation, but does not stand in `{ORDER}`")
        for clip in clips
        if clip not in order
    ]
    return [*lacking, *unlisted, *(_repeated(where, clips, "clip") if clips.repeated else ())]


def _clip_faults(where: str, content: Any, ignored: Sequence[str]) -> list[Fault]:
    """What is wrong with the annotation of a clip."""
    if not isinstance(content, Object):
        return [(where, f"holds {kind_of(content)}, but must hold an object")]
    faults = _repeated(where, content, "key")
    for key in content:
        if key not in KEYS and key not in ignored:
            hint = near_miss(key, KEYS) or f"; a clip has {', '.join(KEYS)}"
            why = f"key `{key}` is unknown{hint}; to leave it out: `source.ignore_keys`"
            faults.append((where, why))
    text = content.get("translation")
    if not isinstance(text, str):
        what = kind_of(text) if "translation" in content else "missing"
        faults.append((where, f"`translation` must be a text, but is {what}"))
    elif not _sound(text):
        faults.append((where, "`translation` holds half of a character (a lone surrogate)"))
    for key in KEYS[1:]:
        texts = content.get(key, [])
        if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
            faults.append((where, f"`{key}` must be a list of texts"))
        elif not all(one.strip() and _sound(one) for one in texts):
            faults.append((where, f"`{key}` holds a text that is empty, or half of a character"))
    return faults


def _name_faults(where: str, name: str, what: str) -> list[Fault]:
    """What is wrong with the name of a video or clip, which is one of a group in HDF5 as well."""
    if not name or name == "." or "/" in name or "\x00" in name or not _sound(name):
        text = f"`{name}` can be no name of a {what} in shards: HDF5 reads `/` and `.` as paths"
        return [(where.encode(errors="replace").decode(), text.encode(errors="replace").decode())]
    return []


def _repeated(where: str, content: Object, what: str) -> list[Fault]:
    return [(where, f"{what} `{key}` is there more than once") for key in content.repeated]


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _sound(text: str) -> bool:
    """Whether a text can be written: JSON may hold halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
