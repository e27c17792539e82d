"""The corpora of `sign-language-datasets` 0.4.0: how each is configured and where its clips are.

Every builder of the package is in one of the two tables below: corpora that can be prepared, and
the others with the reason. Field names are dotted paths into the examples of a builder.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

PACKAGE_VERSION = "0.4.0"

Layout = Literal["clip", "sentences", "subtitles", "views"]


@dataclass(frozen=True)
class ClipFields:
    """The fields of an example that describe one clip.

    Attributes:
        media: Field of the pose or video.
        text: Field of the text.
        signer: Field of the signer, or empty.
        gloss: Field of the glosses, or empty.
        sign_language: Field of the sign language, or empty.
        spoken_language: Field of the language of the text, or empty.
        suffix: Text that is appended to the id of the example.
    """

    media: str = "pose"
    text: str = "text"
    signer: str = ""
    gloss: str = ""
    sign_language: str = ""
    spoken_language: str = ""
    suffix: str = ""


@dataclass(frozen=True)
class TfdsCorpus:
    """A corpus of `sign-language-datasets`.

    Attributes:
        builder: Name of its builder.
        sign_language: Short name of the sign language, the tag of the encoder prompt.
        spoken_language: Language code of the texts, the tag of the decoder prompt.
        pose_types: Values of `include_pose`, the default first; empty if there are no poses.
        layout: `clip`: an example is a clip; `sentences`: it is a document with an ELAN file;
            `subtitles`: it is a video with subtitles; `views`: it is a sign in several views.
        clips: Fields of the clips of an example; for `sentences`, only the text counts.
        config: Attributes of the builder's configuration beside poses and frame rate.
        pose_paths: Fields that contain the path of a `.pose` file instead of its arrays.
        video_fields: Fields that contain the path of a video; empty if there are none.
        id_is_ordered: Whether ids end in `-NUMBER` or `_NUMBER`, the position in a document.
        requirements: Packages that the builder needs beside those of `sign-language-datasets`.
        video_requirements: Packages that it needs for videos only.
    """

    builder: str
    sign_language: str = "asl"
    spoken_language: str = "en"
    pose_types: tuple[str, ...] = ("holistic",)
    layout: Layout = "clip"
    clips: tuple[ClipFields, ...] = (ClipFields(),)
    config: Mapping[str, Any] = field(default_factory=dict)
    pose_paths: tuple[str, ...] = ()
    video_fields: tuple[str, ...] = ()
    id_is_ordered: bool = False
    requirements: tuple[str, ...] = ()
    video_requirements: tuple[str, ...] = ()


# Imported by the builder of WMT-SLT, but not required by the package.
_OPENCV = "opencv-python-headless==5.0.0.93"
_SRT = "srt==3.5.3"
_SIGNER_ID = (ClipFields(signer="signer_id"),)
_PARTICIPANT_VIDEOS = ("paths.videos.a", "paths.videos.b")

TFDS_CORPORA: dict[str, TfdsCorpus] = {
    "phoenix": TfdsCorpus(
        "rwth_phoenix2014_t",
        *("dgs", "de"),
        clips=(ClipFields(signer="signer", gloss="gloss"),),
        id_is_ordered=True,
    ),
    "dgs_corpus": TfdsCorpus(
        "dgs_corpus",
        *("dgs", "de"),
        pose_types=("holistic", "openpose"),
        layout="sentences",
        clips=(ClipFields(text="german"),),
        config={"data_type": "document"},
        video_fields=_PARTICIPANT_VIDEOS,
        video_requirements=(_OPENCV,),
    ),
    "dgs_types": TfdsCorpus(
        "dgs_types",
        *("dgs", "de"),
        layout="views",
        clips=(ClipFields("views.pose", "glosses", suffix="views.name"),),
        # Gives the paths of the poses, which are linked, instead of arrays.
        config={"process_pose": False},
        pose_paths=("views.pose",),
    ),
    "wmt_slt": TfdsCorpus(
        "wmt_slt",
        *("dsgs", "de"),
        pose_types=("openpose",),
        clips=(ClipFields(text="subtitle.text"),),
        video_fields=("video",),
        id_is_ordered=True,
        requirements=(_OPENCV, _SRT),
    ),
    "signsuisse": TfdsCorpus(
        "signsuisse",
        *("dsgs", "de"),
        clips=(
            ClipFields(text="name", spoken_language="spokenLanguage"),
            ClipFields(
                *("examplePose", "exampleText"),
                spoken_language="spokenLanguage",
                suffix="-example",
            ),
        ),
    ),
    "mediapi_skel": TfdsCorpus("mediapi_skel", *("lsf", "fr"), layout="subtitles"),
    "ngt_corpus": TfdsCorpus(
        "ngt_corpus",
        *("ngt", "nl"),
        pose_types=(),
        layout="sentences",
        clips=(ClipFields(text="dutch"),),
        video_fields=_PARTICIPANT_VIDEOS,
    ),
    "dicta_sign": TfdsCorpus(
        "dicta_sign",
        clips=(
            ClipFields(
                gloss="gloss", sign_language="signed_language", spoken_language="spoken_language"
            ),
        ),
    ),
    "spread_the_sign": TfdsCorpus(
        "spread_the_sign",
        clips=(
            ClipFields(
                media="pose_path", sign_language="sign_language", spoken_language="spoken_language"
            ),
        ),
        pose_paths=("pose_path",),
    ),
    "autsl": TfdsCorpus(
        "autsl",
        *("tsl", "tr"),
        pose_types=("holistic", "openpose"),
        clips=(ClipFields(text="meaning.turkish", signer="signer"),),
    ),
    "chicago_fs_wild": TfdsCorpus("chicago_fs_wild", clips=(ClipFields(signer="signer"),)),
    "asl_citizen": TfdsCorpus("asl_citizen", clips=_SIGNER_ID),
    "asl_signs": TfdsCorpus(
        "asl_signs", clips=_SIGNER_ID, config={"extra": {"split": "1.0.0-uzh"}}
    ),
    "sem_lex": TfdsCorpus("sem_lex", clips=_SIGNER_ID),
    "pop_sign": TfdsCorpus("pop_sign"),
}
"""Name of a corpus → where its clips are. Also known: the names of the builders themselves."""

UNAVAILABLE_CORPORA = {
    "how2sign": (
        "its builder gives no texts; use `kinesweep prepare how2sign ANNOTATIONS POSES OUT`"
    ),
    "wlasl": "its builder stops with an error before the first example",
    "bsl_corpus": "its builder gives neither poses nor videos",
    "asl_lex": "it contains properties of signs, but no poses or videos",
    "aslg_pc12": "it contains glosses and texts, but no poses or videos",
    "sign_wordnet": "it contains links between signs and words, but no poses or videos",
    "signbank": "it contains SignWriting and texts, but no poses or videos",
    "sign2mint": "it contains SignWriting and decoded frames of single signs, but no poses",
    "signtyp": "it contains properties of signs and decoded frames, but no poses or texts",
    "swojs_glossario": "it contains SignWriting and decoded frames of single signs, but no poses",
}
"""Name of a builder → the reason why it cannot be prepared."""
