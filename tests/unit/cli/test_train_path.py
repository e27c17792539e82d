"""The way of `kinesweep train` from the command to the weights, counted in files.

Counted are the files of the package that are on the call stack whenever a parameter is created, a
batch runs forward or backward, the optimizer steps, or weights are saved. Files that only compute a
value on the way (a config, a clip, a batch) are not on these stacks.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import kinesweep
from corpus import tiny_corpus, tiny_recipe
from kinesweep.checkpoints import checkpoint_content
from kinesweep.cli import main

pytestmark = pytest.mark.integration
PACKAGE = str(Path(kinesweep.__file__).parent)
WEIGHT_CALLS = {
    "parameter": (torch.nn.Module, "register_parameter"),
    "forward": (torch.nn.Embedding, "forward"),
    "backward": (torch.Tensor, "backward"),
    "step": (torch.optim.AdamW, "step"),
    "save": (checkpoint_content, "save_file"),
}


def test_it_passes_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(tiny_corpus(tmp_path, clips=24), tmp_path / "stores", tracking="none")
    values = recipe.model_dump(mode="json")
    values["training"] |= {"eval_steps": 2, "max_steps": 4}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.setenv("KINESWEEP_HOME", str(tmp_path / "home"))
    files_by_call: dict[str, set[str]] = {}

    def record(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            frame = sys._getframe(1)
            while frame is not None:
                path = frame.f_code.co_filename
                if path.startswith(PACKAGE):
                    files_by_call.setdefault(name, set()).add(path)
                frame = frame.f_back  # type: ignore[assignment]
            return function(*args, **kwargs)

        return recorded

    for name, (owner, attribute) in WEIGHT_CALLS.items():
        monkeypatch.setattr(owner, attribute, record(name, getattr(owner, attribute)))
    with pytest.raises(SystemExit) as ended:
        main(
            ["train", str(tmp_path / "recipe.yaml"), "--no-ray", "--folder", str(tmp_path / "run")]
        )
    assert not ended.value.code
    assert files_by_call.keys() == WEIGHT_CALLS.keys()
    files = set.union(*files_by_call.values())
    assert 10 < len(files) <= 35, sorted(files)
