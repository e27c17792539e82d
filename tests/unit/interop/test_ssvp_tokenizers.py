"""Tokenizers of imported checkpoints of SSVP-SLT, and the command that imports them."""

import json
from pathlib import Path

import pytest
import sentencepiece

import ssvp
from corpus import tiny_corpus, tiny_recipe
from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.checkpoints.model_dir_files import format_recipe_yaml
from kinesweep.cli import main
from kinesweep.config.recipe import Recipe
from kinesweep.core.errors import CheckpointError, InputError
from kinesweep.data.external_tokenizer import load_external_tokenizer
from kinesweep.data.text_tokenizer import TextTokenizer
from kinesweep.interop import import_ssvp
from kinesweep.pipelines.evaluation import evaluate_model_dir
from kinesweep.store.extraction.build import extract_locally
from ssvp import (
    check_equal,
    imported,
    make_theirs,
    recipe_of,
    tokenizer,
)


def test_no_file_and_no_tokenizer(tmp_path: Path) -> None:
    make_theirs(tmp_path / "theirs", "t5")
    path = tmp_path / "theirs/best_model.pth"
    with pytest.raises(InputError, match="say where its tokenizer is"):
        import_ssvp(path, recipe_of("t5"), tmp_path / "ours")
    path.write_bytes(b"no pickle")
    with pytest.raises(CheckpointError, match="cannot be read as tensors"):
        imported(tmp_path, "t5")


def test_a_folders_configuration_is_enough_for_its_backbone(tmp_path: Path) -> None:
    """`model.backbone.pretrained` as in `ssvp_t5`: rows beyond the tokenizer, no weights read."""
    theirs = make_theirs(tmp_path / "theirs", "t5")
    theirs.backbone.config.save_pretrained(tmp_path / "plain")
    tokenizer().save(tmp_path / "plain")
    plain = recipe_of("t5").model_dump(mode="json")
    plain["model"]["backbone"] = {"pretrained": str(tmp_path / "plain"), "dropout": 0.3}
    plain["model"]["tokenizer"] = {"kind": "pretrained"}
    path = tmp_path / "theirs/best_model.pth"
    import_ssvp(path, Recipe.model_validate(plain), tmp_path / "ours")
    check_equal(theirs, tmp_path / "ours")
    config = json.loads((tmp_path / "ours/config.json").read_text())
    assert config["backbone"]["dropout_rate"] == 0.3


def test_fairseqs_tokenizer_and_case_from_texts(tmp_path: Path) -> None:
    """Numbers of `dictionary.txt`: padding is 1, as fairseq's positions count on."""
    folder = tmp_path / "spm"
    folder.mkdir()
    with (folder / "sentencepiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["the sun shines", "rain falls in the north"]),
            model_writer=file,
            vocab_size=25,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    theirs = sentencepiece.SentencePieceProcessor(str(folder / "sentencepiece.model"))
    lines = [f"{theirs.id_to_piece(i)} 1\n" for i in range(3, len(theirs))]
    (folder / "dictionary.txt").write_text("".join(lines), encoding="utf-8")
    text = TextTokenizer(load_external_tokenizer(str(folder), [], []))
    assert text.vocabulary.pad_id == 1
    model = make_theirs(tmp_path / "theirs", "tarres", text=text)
    plain = recipe_of("tarres").model_dump(mode="json")
    plain["model"]["tokenizer"] = {"kind": "folder", "path": str(folder), "lowercase": True}
    plain["generation"]["truecase"] = True
    recipe = Recipe.model_validate(plain)
    path = tmp_path / "theirs/best_model.pth"
    with pytest.raises(InputError, match="no texts to learn case from"):
        import_ssvp(path, recipe, tmp_path / "ours")
    import_ssvp(path, recipe, tmp_path / "ours", texts=["in the North"])
    check_equal(model, tmp_path / "ours")
    written = read_model_folder(tmp_path / "ours").tokenizer
    ids = written.encode_target("", "Rain FALLS in the north")
    assert written.decode(ids, truecase=True) == "Rain falls in the North"


def test_the_verb_imports_and_the_model_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(ssvp, "WIDTH", 534)
    make_theirs(tmp_path / "theirs", "bart")
    model = recipe_of("bart").model_dump(mode="json")["model"]
    corpus = tiny_corpus(tmp_path, clips=24)
    recipe = tiny_recipe(corpus, tmp_path / "stores", generation={"max_new_tokens": 8})
    recipe = Recipe.model_validate({**recipe.model_dump(mode="json"), "model": model})
    (tmp_path / "recipe.yaml").write_text(format_recipe_yaml(recipe))
    words = [str(tmp_path / "theirs/best_model.pth"), str(tmp_path / "recipe.yaml")]
    into = ["--into", str(tmp_path / "ours"), "--tokenizer", str(tmp_path / "theirs/tokenizer")]

    def called(*arguments: str) -> int:
        with pytest.raises(SystemExit) as left:
            main(["convert", *arguments, "--json"])
        return int(left.value.code or 0)

    assert called(*words) == 2
    assert "pass `--into FOLDER`" in capsys.readouterr().err
    assert called(*words, *into) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["model"] == str(tmp_path / "ours") and said["parameters"] > 0
    assert called(*words, *into) == 2  # never over another one unasked
    store = extract_locally(recipe)
    found, _ = evaluate_model_dir(tmp_path / "ours", "validation", [], None)
    assert len(found.predictions) == len(store.get_records("validation"))
    assert found.scores["token_loss"] > 0
