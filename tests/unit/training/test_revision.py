"""One revision of a saved language model: its weights and its tokenizer."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoTokenizer

from corpus import tiny_recipe
from kinesweep.core.errors import InputError
from kinesweep.features.texts import hf_tokenizer as tokenizer
from kinesweep.store import Store
from kinesweep.training.loop.run import write_initial_model
from llamas import save_llama, tiny_llama


@pytest.mark.parametrize(("revision", "read"), [("v2", "v2"), (None, "main")])
def test_the_tokenizer_is_of_the_backbones_revision(
    corpus: Path,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    revision: str | None,
    read: str,
) -> None:
    asked = []

    def from_pretrained(name: str, **options: Any) -> Any:
        asked.append((name, options["revision"]))
        return AutoTokenizer.from_pretrained(name, **options)

    monkeypatch.setattr(
        tokenizer, "AutoTokenizer", SimpleNamespace(from_pretrained=from_pretrained)
    )
    texts = [record.clip.texts[0] for record in store.get_records("train")]
    folder = save_llama(tmp_path / "llama", *tiny_llama(texts))
    backbone = {"kind": "causal", "pretrained": str(folder), "revision": revision}
    model = {"backbone": backbone, "tokenizer": {"kind": "pretrained", "new_tokens": ["__asl__"]}}
    recipe = tiny_recipe(corpus, store.folder.parent, model=model)
    write_initial_model(recipe, store, tmp_path / "first")
    assert asked == [(str(folder), read)]


def test_a_revision_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at the revision `v2` has no tokenizer"):
        tokenizer.read_tokenizer(str(tmp_path), "v2")
