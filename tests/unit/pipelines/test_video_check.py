"""What the check of a corpus of videos says about their frame rates."""

from pathlib import Path

from kinesweep.pipelines.corpus_check import check_corpus
from timed_films import write_timed_video
from vision import film_recipe


def test_a_doubtful_rate_is_a_warning_for_each_file(tmp_path: Path) -> None:
    """Two clips of a film of 2 frames a second, one of a usual film."""
    write_timed_video(tmp_path / "slow.webm", range(0, 10_000, 500), rate=2)
    write_timed_video(tmp_path / "usual.webm", range(0, 2_000, 40), rate=25)
    rows = ["slow.webm\t0\t4000\tOne.", "usual.webm\t\t\tTwo.", "slow.webm\t4000\t8000\tThree."]
    table = tmp_path / "train.tsv"
    table.write_text("\n".join(["signal\tsignal_start\tsignal_end\toutput", *rows]) + "\n")
    (tmp_path / "validation.tsv").write_text(table.read_text())
    found = check_corpus(film_recipe(tmp_path, tmp_path / "model", tmp_path / "stores"))
    assert found.invalid_rows == []
    assert [(warning.row, warning.kind) for warning in found.warnings] == [
        ("train.tsv:2", "implausible_rate")
    ]
    assert "slow.webm" in found.warnings[0].message
