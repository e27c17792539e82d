"""Published annotations become TSVs; what is missing is counted, nothing is replaced unasked."""

from pathlib import Path

import pytest

from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.errors import InputError, SourceError
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.prepare import MISSING_TABLE_NAME, prepare_corpus

HOW2SIGN = "VIDEO_ID\tVIDEO_NAME\tSENTENCE_ID\tSENTENCE_NAME\tSTART\tEND\tSENTENCE\n"
PHOENIX = "name|video|start|end|speaker|orth|translation\n"


def write(path: Path, content: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def clips(out: Path, poses: Path, split: str) -> list:  # type: ignore[type-arg]
    config = PoseTsvConfig.model_validate({split: str(out / f"{split}.tsv"), "root": str(poses)})
    return PoseTsvSource(config).list_clips(split)


@pytest.fixture
def how2sign(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Annotations, poses, out: one clip cut, one inside of a whole video, one missing."""
    annotations, poses = tmp_path / "a", tmp_path / "p"
    rows = [
        'v1\tv1-5-rgb_front\tv1_0\tv1_0-5-rgb_front\t0.5\t1.25\tSay "hi" to all.\n',
        'v1\tv1-5-rgb_front\tv1_1\tv1_1-5-rgb_front\t1.25\t3.0\t"Now ""this"" is it."\n',
        'v2\tv2-8-rgb_front\tv2_0\tv2_0-8-rgb_front\t0\t1\t"An open quote.\n',
    ]
    write(annotations / "how2sign_train.csv", HOW2SIGN + "".join(rows))
    write(annotations / "how2sign_val.csv", HOW2SIGN + rows[2].replace("v2_0", "v2_7"))
    for name in ("v1_0-5-rgb_front", "train/v1-5-rgb_front"):
        write(poses / f"{name}.pose")
    return annotations, poses, tmp_path / "out"


def test_how2sign(how2sign: tuple[Path, Path, Path]) -> None:
    annotations, poses, out = how2sign
    found = prepare_corpus("how2sign", annotations, poses, out)
    assert (found.clips, found.missing) == ({"train": 2}, {"train": 1, "validation": 1})
    cut, inside = clips(out, poses, "train")
    assert (cut.media, cut.span.start or 0, cut.span.end or 0) == ("v1_0-5-rgb_front.pose", 0, 0)
    assert (inside.media, inside.span.start, inside.span.end) == (
        *("train/v1-5-rgb_front.pose", 1250, 3000),
    )
    assert cut.texts == ('Say "hi" to all.',) and inside.texts == ('Now "this" is it.',)
    assert (inside.id, inside.document, inside.order, inside.signer) == (
        *("v1_1-5-rgb_front", "v1", 1, "5"),
    )
    assert (cut.encoder_prompt, cut.decoder_prompt) == ("__asl__", "__en__")
    missing = (out / "missing.tsv").read_text().splitlines()
    assert [line.split("\t")[:2] for line in missing[1:]] == [
        ["train", "v2_0-8-rgb_front"],
        ["validation", "v2_7-8-rgb_front"],
    ]


def test_realigned_times_go_first(how2sign: tuple[Path, Path, Path]) -> None:
    annotations, poses, out = how2sign
    file = annotations / "how2sign_train.csv"
    file.write_text(file.read_text().replace("START\tEND", "START_REALIGNED\tEND_REALIGNED"))
    prepare_corpus("how2sign", annotations, poses, out)
    assert clips(out, poses, "train")[1].span.start == 1250


def test_phoenix(tmp_path: Path) -> None:
    annotations, poses, out = tmp_path / "a", tmp_path / "p", tmp_path / "out"
    name = "11August_2010_Wednesday_tagesschau-3"
    row = f"{name}|{name}/1/*.png|-1|-1|Signer08|JETZT WETTER|und nun das wetter .\n"
    write(annotations / "PHOENIX-2014-T.train.corpus.csv", PHOENIX + row)
    rows = row.replace("-3", "-4") + row.replace("-3", "-5")
    write(annotations / "PHOENIX-2014-T.dev.corpus.csv", PHOENIX + rows)
    write(poses / f"train/{name}.pose")
    write(poses / f"dev/{name[:-1]}4.pose")
    write(poses / f"validation/{name[:-1]}5.pose")
    found = prepare_corpus("phoenix", annotations, poses, out)
    assert (found.clips, found.missing) == ({"train": 1, "validation": 2}, {})
    assert not (out / "missing.tsv").exists()
    (clip,) = clips(out, poses, "train")
    assert (clip.media, clip.texts) == (f"train/{name}.pose", ("und nun das wetter .",))
    assert (clip.signer, clip.gloss, clip.document, clip.order, clip.language) == (
        *("Signer08", "JETZT WETTER", name[:-2], 3, "de"),
    )
    assert (clip.encoder_prompt, clip.decoder_prompt) == ("__dgs__", "__de__")


def test_old_names_become_the_newest(tmp_path: Path) -> None:
    annotations, poses, out = tmp_path / "a", tmp_path / "p", tmp_path / "out"
    header = "input_pose\tsource_start\tsource_end\tsource_prompt\tgeneration_prompt\toutput_text\n"
    write(annotations / "train.tsv", header + "x.pose\t100\t250\t__dgs__\t__de__\tHallo\n")
    write(annotations / "dev.tsv", header + "x.pose\t250\t0\t__dgs__\t__de__\tWelt\n")
    write(poses / "x.pose")
    prepare_corpus("generic", annotations, poses, out)
    heading = (out / "train.tsv").read_text().splitlines()[0].split("\t")
    assert {"signal", "signal_start", "encoder_prompt", "output"} <= set(heading)
    (clip,) = clips(out, poses, "train")
    assert (clip.span.start, clip.span.end, clip.texts) == (100, 250, ("Hallo",))
    assert clips(out, poses, "validation")[0].texts == ("Welt",)


def test_videos_and_frames_are_to_be_estimated_first(
    how2sign: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    annotations, poses, out = how2sign
    found = prepare_corpus("how2sign", annotations, poses, out)
    (_, lost, _), *_ = [
        line.split("\t") for line in (out / MISSING_TABLE_NAME).read_text().splitlines()[1:]
    ]
    assert found.unestimated == 0
    write(poses / f"{lost}.mp4")
    again = prepare_corpus("how2sign", annotations, poses, out, overwrite=True)
    assert (again.clips, again.missing, again.unestimated) == (found.clips, found.missing, 1)
    assert f"\tposes of {lost}.mp4\n" in (out / MISSING_TABLE_NAME).read_text()
    films = tmp_path / "films"
    write(films / f"train/{lost}/0001.png")
    with pytest.raises(
        InputError,
        match=r"1 of the clips exist .* `kinesweep estimate-poses .*films --out .*films`",
    ):
        prepare_corpus("how2sign", annotations, films, tmp_path / "more")


def test_what_is_there_stays_unless_told(how2sign: tuple[Path, Path, Path]) -> None:
    annotations, poses, out = how2sign
    write(out / "test.tsv", "mine\n")
    with pytest.raises(InputError, match="--overwrite"):
        prepare_corpus("how2sign", annotations, poses, out)
    assert (out / "test.tsv").read_text() == "mine\n" and not (out / "train.tsv").exists()
    write(out / "notes.txt", "mine\n")
    prepare_corpus("how2sign", annotations, poses, out, overwrite=True)
    assert not (out / "test.tsv").exists(), "of an earlier call"
    assert (out / "notes.txt").exists()
    write(poses / "v2_0-8-rgb_front.pose")
    assert prepare_corpus("how2sign", annotations, poses, out, overwrite=True).clips == {"train": 3}


def test_impossible_folders_are_refused(how2sign: tuple[Path, Path, Path], tmp_path: Path) -> None:
    annotations, poses, out = how2sign
    with pytest.raises(InputError, match="is not a folder"):
        prepare_corpus("how2sign", annotations / "no", poses, out)
    with pytest.raises(InputError, match="no annotations of phoenix"):
        prepare_corpus("phoenix", annotations, poses, out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"none of 4 pose files .* looked for `v1_0"):
        prepare_corpus("how2sign", annotations, tmp_path / "empty", out)
    write(annotations / "how2sign_realigned_train.csv", HOW2SIGN)
    with pytest.raises(InputError, match=r"how2sign_realigned_train\.csv.*keep only one"):
        prepare_corpus("how2sign", annotations, poses, out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HOW2SIGN + "v1\ttoo\tshort\n", r"train.csv:2 +has 3 fields, not 7"),
        (HOW2SIGN + "v\tn\ti\ts\tsoon\t1\tText\n", r"train.csv:2 .*soon"),
        ("a\tb\n", "has no column `VIDEO_ID`"),
        (HOW2SIGN.replace("START\t", ""), "START"),
    ],
)
def test_malformed_tables_are_refused_with_their_lines(
    how2sign: tuple[Path, Path, Path], content: str, said: str
) -> None:
    annotations, poses, out = how2sign
    extra = "v\tn\ti\ts\t1\tText\n" if "START" in said else ""
    write(annotations / "how2sign_train.csv", content + extra)
    with pytest.raises(SourceError, match=said):
        prepare_corpus("how2sign", annotations, poses, out)
    assert not out.exists()
