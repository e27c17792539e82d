"""Bad input on the command line: code 2, the row or key named, never a traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from corpus import tiny_corpus, tiny_recipe
from kinesweep.cli import main

Break = Callable[[Path], None]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_corpus(tmp_path_factory.mktemp("cli"), clips=16)


@pytest.fixture
def place(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a corpus that may be broken, and a recipe of it."""
    import shutil

    shutil.copytree(pristine, tmp_path / "corpus")
    recipe = tiny_recipe(tmp_path / "corpus", tmp_path / "stores")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ends(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main(words)
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    return int(left.value.code or 0), said.err.replace("\n", " ") + said.out


def rows(place: Path, change: Callable[[list[str]], list[str]], encoding: str = "utf-8") -> None:
    path = place / "corpus" / "train.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_bytes(("\n".join(change(lines)) + "\n").encode(encoding))


def cell(place: Path, column: str, value: str, encoding: str = "utf-8") -> None:
    """Puts a value into a column of the first row."""

    def change(lines: list[str]) -> list[str]:
        cells = lines[1].split("\t")
        cells[lines[0].split("\t").index(column)] = value
        return [lines[0], "\t".join(cells), *lines[2:]]

    rows(place, change, encoding)


def pose(place: Path) -> Path:
    return sorted((place / "corpus" / "poses" / "train").glob("*.pose"))[0]


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CORPUS: list[tuple[str, Break, str]] = [
    ("no TSV", lambda p: (p / "corpus/train.tsv").unlink(), "train.tsv"),
    ("empty TSV", lambda p: (p / "corpus/train.tsv").write_text(""), "train.tsv"),
    ("only a heading", lambda p: rows(p, lambda x: x[:1]), "train.tsv"),
    ("unknown column", lambda p: rows(p, lambda x: [x[0] + "\tsignall", *(r + "\t" for r in x[1:])]), "signall"),  # noqa: E501
    ("a cell too few", lambda p: rows(p, lambda x: [x[0], x[1].rsplit("\t", 1)[0], *x[2:]]), "train.tsv:2"),  # noqa: E501
    ("twice the same clip", lambda p: rows(p, lambda x: [*x, x[1]]), "train.tsv:"),
    ("Latin-1", lambda p: cell(p, "output", "Grüße", "latin-1"), "train.tsv"),
    ("a time that is no number", lambda p: cell(p, "signal_start", "soon"), "train.tsv:2"),
    ("a time below zero", lambda p: cell(p, "signal_start", "-5"), "train.tsv:2"),
    ("empty text", lambda p: cell(p, "output", ""), "empty_text"),
    ("start after end", lambda p: (cell(p, "signal_start", "900"), cell(p, "signal_end", "300")), "train.tsv:2"),  # noqa: E501
    ("span beyond the file", lambda p: cell(p, "signal_start", "9000000"), "span_beyond_file"),
    ("path out of the corpus", lambda p: cell(p, "signal", "../../x.pose"), "outside"),
    ("missing file", lambda p: pose(p).unlink(), "missing_file"),
    ("directory for a file", lambda p: as_folder(pose(p)), "not_a_file"),
    ("empty file", lambda p: pose(p).write_bytes(b""), "empty_file"),
    ("truncated file", lambda p: pose(p).write_bytes(pose(p).read_bytes()[:-99]), "truncated"),
    ("wrong magic", lambda p: pose(p).write_bytes(b"GIF89a" + b"x" * 500), "not_a_pose_file"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "damage", "said"), CORPUS, ids=[c[0] for c in CORPUS])
def test_a_broken_corpus(
    place: Path, capsys: pytest.CaptureFixture[str], what: str, damage: Break, said: str
) -> None:
    assert ends(capsys, "check", "recipe.yaml")[0] == 0
    damage(place)
    code, text = ends(capsys, "check", "recipe.yaml")
    assert code == 2, what
    assert said in text


def test_windows_line_ends_are_fine(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = place / "corpus" / "train.tsv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert ends(capsys, "check", "recipe.yaml")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "nowhere.yaml"), "cannot be read"),
        (("check", "corpus"), "cannot be read"),
        (("check", "recipe.yaml", "batch.batch_sise=3"), "did you mean `batch_size`?"),
        (("check", "recipe.yaml", "training.max_steps=few"), "training.max_steps"),
        (("check", "recipe.yaml", "training.max_steps"), "key.sub=value"),
        (("check", "recipe.yaml", "source.kind=csv"), "source.kind"),
        (("train", "recipe.yaml", "--no-ray", "model.backbone.scratch.d_modle=8"), "d_model"),
        (("train", "recipe.yaml", "--no-ray", "training.precision=fp16"), "needs a GPU"),
        (("train", "recipe.yaml", "--no-ray", "resources.gpus=1"), "no CUDA device"),
        (("train", "recipe.yaml", "--no-ray", "checkpoints.max_disk=1 KB"), "max_disk"),
        (("train", "recipe.yaml", "--no-ray", "tracking=mlflow"), "kinesweep up"),
        (("train", "recipe.yaml", "--no-ray", "tracking=[tensorboard,wandb]"), "wandb login"),
        (("check", "recipe.yaml", "tracking=[wandb,comet]"), "some of mlflow, wandb, tensorboard"),
        (("show", "recipe.yaml"), "kinesweep extract"),
        (("show", "nothing"), "neither a feature store nor a recipe"),
        (("evaluate", "corpus"), "not a model folder"),
        (("export", "corpus", "out"), "not a model folder"),
        (("translate", "corpus", "x.pose"), "is not a bundle"),
        (("diff", "corpus", "corpus"), "no weights"),
        (("report", "nothing"), "there is no sweep `nothing`"),
        (("ui", "nothing"), "there is no sweep `nothing`"),
        (("plan", "recipe.yaml"), "question"),
        (("sweep", "recipe.yaml"), "question"),
        (("submit", "space.yaml"), "kinesweep up"),
        (("sample", "corpus"), "holds"),
        (("split", "recipe.yaml", "corpus"), "corpus"),
    ],
)
def test_wrong_arguments(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(place / "netrc"))
    if "--no-ray" in words:
        from kinesweep.config.loading import load_config
        from kinesweep.config.recipe import Recipe
        from kinesweep.store.extraction.build import extract_locally

        extract_locally(load_config(Recipe, Path("recipe.yaml")))
    code, text = ends(capsys, *words)
    assert code == 2
    assert said in text
