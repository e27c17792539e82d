"""Corpora of sign-language-datasets: the real process writes them, over a stand-in for TensorFlow.

The stand-in's builders give the sample corpus in the structure of the original's examples.
"""

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from corpus import tiny_corpus, tiny_recipe, tiny_store
from kinesweep.cli import app
from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.core.errors import InputError, ResourceError
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.pipelines.corpus_preparation import prepare_from_tfds
from kinesweep.sources.pose_format.pose_file import read_pose
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.prepare.media.prompts import Prompts
from kinesweep.sources.prepare.preparation_result import PreparationResult
from kinesweep.sources.prepare.tfds.tfds_corpora import TFDS_CORPORA, UNAVAILABLE_CORPORA
from kinesweep.sources.prepare.tfds.tfds_request import TfdsSettings, find_tfds_corpus
from kinesweep.training.loop.run import RunSpec, train_run

TESTS = Path(__file__).resolve().parents[2]
STAND_INS = [TESTS / "stand_ins", TESTS, TESTS.parent / "platform"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_corpus(tmp_path_factory.mktemp("sample"), 24)


@pytest.fixture
def place(tmp_path: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STAND_IN_CORPUS", str(sample))
    monkeypatch.setenv("STAND_IN_COUNT", str(tmp_path / "count"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, STAND_INS)))
    return tmp_path


def prepare(name: str, out: Path, **settings: Any) -> PreparationResult:
    rest = {key: settings.pop(key) for key in ("prompts", "overwrite") if key in settings}
    return prepare_from_tfds(
        name, out, TfdsSettings(**settings), python=Path(sys.executable), **rest
    )


def clips(out: Path, split: str = "train") -> list[Clip]:
    return PoseTsvSource(
        PoseTsvConfig.model_validate({split: str(out / f"{split}.tsv")})
    ).list_clips(split)


def originals(sample: Path, split: str = "train") -> list[dict[str, str]]:
    with (sample / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_phoenix_has_the_texts_glosses_signers_and_poses_of_its_builder(
    place: Path, sample: Path
) -> None:
    result = prepare("phoenix", place / "out")
    rows = originals(sample)
    assert result.rows["train"] == len(rows)
    assert result.dropped["train"] == {"empty_text": 1, "no_pose": 1}
    assert result.clips["train"] == len(rows) - 2
    kept = [row for index, row in enumerate(rows) if index not in (1, 2)]
    for clip, row in zip(clips(place / "out"), kept, strict=True):
        assert clip.id == Path(row["signal"]).stem
        assert (clip.texts[0], clip.gloss, clip.signer) == (
            *(row["output"], row["gloss"], row["signer"]),
        )
        assert (clip.encoder_prompt, clip.decoder_prompt, clip.language) == (
            *("__dgs__", "__de__", "de"),
        )
        assert (clip.document, clip.order) == ("train", int(clip.id.rpartition("_")[2]))
        written, original = (
            read_pose(folder / media)
            for folder, media in ((place / "out", clip.media), (sample, row["signal"]))
        )
        assert (written.fps, written.layout) == (original.fps, original.layout)
        np.testing.assert_array_equal(written.confidence_TPJ, original.confidence_TPJ)
        found = original.confidence_TPJ > 0
        np.testing.assert_array_equal(written.points_TPJC[found], original.points_TPJC[found])
    lines = (place / "out" / "dropped.tsv").read_text().splitlines()
    assert "train\ttrain.jsonl:3\tno_pose" in lines and "train\ttrain.jsonl:2\tempty_text" in lines
    log = (place / "out" / "rows" / "worker.log").read_text()
    assert "noise of a library on stdout" in log and "on stderr" in log


def test_a_killed_process_goes_on_after_its_last_whole_row(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare("phoenix", place / "whole")
    (place / "count").write_text("0")
    monkeypatch.setenv("STAND_IN_CRASH_AT", "9")
    with pytest.raises(ResourceError, match=r"crashed \(exit code -9\).*same command again"):
        prepare("phoenix", place / "out")
    assert not list((place / "out").glob("*.tsv"))
    monkeypatch.delenv("STAND_IN_CRASH_AT")
    files = {path: path.stat().st_mtime_ns for path in (place / "out").rglob("*.pose")}
    damaged, *_ = (path for path in files if path.parent.name == "train")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (place / "count").write_text("0")
    again = prepare("phoenix", place / "out")
    made = sum(again.rows.values()) - int((place / "count").read_text())
    # The rows before the damaged one are not even made; those after it are not written again.
    assert sum(again.kept.values()) == 8 and made >= 2
    changed = {path for path, time in files.items() if path.stat().st_mtime_ns != time}
    assert changed == {damaged}
    assert again.clips == whole.clips
    for path in (place / "whole").rglob("*"):
        if path.suffix in (".tsv", ".pose"):
            other = place / "out" / path.relative_to(place / "whole")
            assert other.read_bytes() == path.read_bytes(), path


def test_documents_become_spans_of_two_people(place: Path, sample: Path) -> None:
    result = prepare("dgs_corpus", place / "out")
    # The second document has no poses of person B.
    assert result.dropped["train"] == {"no_pose": 1}
    first, second, third, *_ = clips(place / "out")
    row_a, row_b, row_c = originals(sample)[:3]
    # B signs first.
    assert [clip.texts[0] for clip in (first, second, third)] == [
        *(row_b["output"], row_a["output"], row_c["output"]),
    ]
    assert [clip.media for clip in (first, second)] == [
        *("poses/train/train_00000.b.pose", "poses/train/train_00000.a.pose"),
    ]
    assert [(clip.span.start, clip.span.end) for clip in (first, second)] == [(40, 440), (200, 600)]
    assert [(clip.document, clip.order, clip.signer) for clip in (first, second)] == [
        *(("train_00000", 0, "SH-13"), ("train_00000", 1, "SH-12")),
    ]
    assert first.gloss == row_b["gloss"]
    settings = json.loads((place / "out" / "rows" / "settings.json").read_text())
    assert settings["config"]["split"] == "3.0.0-uzh-document"


def test_prompts_limits_and_frame_rates(place: Path, sample: Path) -> None:
    prompts = Prompts(encoder="", decoder="<de>", language="gsw")
    result = prepare("rwth_phoenix2014_t", place / "out", prompts=prompts, limit=4, fps=12.5)
    assert result.rows == {"train": 4, "validation": 3, "test": 2}
    first = clips(place / "out")[0]
    assert (first.encoder_prompt, first.decoder_prompt, first.language) == ("", "<de>", "gsw")
    original = read_pose(sample / originals(sample)[0]["signal"])
    written = read_pose(place / "out" / first.media)
    np.testing.assert_array_equal(written.confidence_TPJ, original.confidence_TPJ[::2])
    # More rows with the same settings: those that are there stay.
    more = prepare("phoenix", place / "out", fps=12.5, overwrite=True)
    assert more.kept["train"] == 4 and more.rows["train"] == len(originals(sample))
    with pytest.raises(InputError, match="already contains TSVs"):
        prepare("phoenix", place / "out", fps=12.5)
    for path in (place / "out").glob("*.tsv"):
        path.unlink()
    with pytest.raises(InputError, match="written with other settings"):
        prepare("phoenix", place / "out")


def test_one_split_is_train_with_a_warning(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_SPLITS", "train")
    result = prepare("phoenix", place / "out", limit=4)
    assert list(result.files) == ["train"]
    assert any(
        "no validation split" in text and "kinesweep split" in text for text in result.warnings
    )


def test_it_becomes_a_corpus_that_trains(place: Path) -> None:
    prepare("phoenix", place / "out")
    recipe = tiny_recipe(
        place / "out", place / "stores", training={"max_steps": 4, "eval_steps": 4}
    )
    store = tiny_store(recipe)
    result = train_run(
        RunSpec(recipe, store.folder, place / "run"), NullRunLogger(), lambda _: True
    )
    assert result.step == 4


def test_what_cannot_be_prepared_is_refused_with_the_reason(place: Path) -> None:
    with pytest.raises(InputError, match="has no poses; use `--media videos`"):
        prepare("ngt_corpus", place / "out")
    with pytest.raises(InputError, match="gives no texts"):
        find_tfds_corpus("how2sign")
    with pytest.raises(InputError, match="did you mean `phoenix`"):
        find_tfds_corpus("phenix")
    with pytest.raises(InputError, match="no poses of `sapiens`; available: holistic"):
        prepare("phoenix", place / "out", pose_type="sapiens")
    with pytest.raises(InputError, match="gives no video files"):
        prepare("phoenix", place / "out", media="videos")
    with pytest.raises(InputError, match="`TOKEN_OF_NOBODY`, which is not set"):
        prepare("phoenix", place / "out", builder_options={"token": "env:TOKEN_OF_NOBODY"})
    with pytest.raises(InputError, match=r"cannot be prepared: TypeError.*worker\.log"):
        prepare("phoenix", place / "out", config={"framerate": 3})
    assert not (place / "out" / "train.tsv").exists()


def test_builders_options_are_not_written(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    prepare("phoenix", place / "out", builder_options={"token": "env:SECRET_TOKEN"}, limit=1)
    texts = [
        path.read_text()
        for path in (place / "out").rglob("*")
        if path.suffix != ".pose" and path.is_file()
    ]
    assert texts and not any("s3cret" in text for text in texts)


def test_every_builder_of_the_package_is_offered_or_refused() -> None:
    """The 25 builders of release 0.4.0."""
    builders = {corpus.builder for corpus in TFDS_CORPORA.values()} | set(UNAVAILABLE_CORPORA)
    assert builders == set(
        """
        asl_citizen asl_lex asl_signs aslg_pc12 autsl bsl_corpus chicago_fs_wild dgs_corpus
        dgs_types dicta_sign how2sign mediapi_skel ngt_corpus pop_sign rwth_phoenix2014_t sem_lex
        sign2mint sign_wordnet signbank signsuisse signtyp spread_the_sign swojs_glossario wlasl
        wmt_slt
        """.split()  # noqa: SIM905
    )


def test_the_command(place: Path) -> None:
    words = ["prepare", "phoenix", str(place / "out"), "--from", "tfds", "--python", sys.executable]
    result = CliRunner().invoke(app, [*words, "--limit", "5", "--set", "extra={}", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["rows"]["train"] == 5
    assert "dropped 2 rows: 1 empty_text, 1 no_pose" in result.output
    for more, message in (
        (["--languages", "de"], "`--languages` belongs to `--from files`"),
        (["--column", "text=a"], "`--column` belongs to `--from hf`"),
        (["--set", "x"], "`--set` must be KEY=VALUE"),
        (["--media", "features"], "`--media features` belongs to `--from hf`"),
    ):
        refused = CliRunner().invoke(app, [*words, *more])
        assert refused.exit_code == 2 and message in " ".join(refused.output.split()), (
            refused.output
        )
