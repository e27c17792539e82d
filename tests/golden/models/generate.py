"""Writes `expected.json`: the figures of tiny seeded models, to be kept by every refactor.

`PYTHONPATH=platform python tests/golden/models/generate.py` from the repository's root, with one
thread. The figures hold within 1e-4 on any CPU (kernels differ in the last bits); a change of maths
changes the file in the same commit, with a sentence why.
"""

import json
from pathlib import Path
from typing import Any

import torch

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import build_translator

EXPECTED = Path(__file__).with_name("expected.json")
_BART = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "init_std": 0.2,
}
SCRATCH: dict[str, dict[str, Any]] = {
    "m2m_100": _BART,
    "bart": _BART,
    "t5": {"d_model": 16, "num_layers": 2, "d_ff": 32, "num_heads": 2, "d_kv": 8},
}


def inputs() -> dict[str, Any]:
    """Three clips of 6, 4 and 5 frames made of sines, so that no generator is needed."""
    x_BTD = torch.sin(torch.arange(3 * 6 * 4).float()).view(3, 6, 4)
    mask_BT = torch.arange(6) < torch.tensor([6, 4, 5])[:, None]
    labels_BL = torch.tensor([[5, 9, 2, -100], [7, 2, -100, -100], [3, 8, 6, 2]])
    return {
        "streams": {"pose": x_BTD},
        "frame_masks": {"pose": mask_BT},
        "prompt_ids": torch.tensor([[4, 5], [6, 0], [0, 0]]),
        "prompt_mask": torch.tensor([[True, True], [True, False], [False, False]]),
        "labels": labels_BL,
    }


def figures(architecture: str) -> dict[str, Any]:
    """Loss and logits as built, losses of three steps, and what is then written."""
    scratch = {"architecture": architecture, **SCRATCH[architecture]}
    recipe = ModelConfig.model_validate({"backbone": {"scratch": scratch}})
    seed_everything(11)
    model = build_translator(recipe, {"pose": 4}, Vocabulary(12, 0, 1, 2), 0.1).eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    given = inputs()
    output = model(**given)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(**given).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    del given["labels"]
    return {
        "loss": output.loss.item(),
        "logits": output.logits[2, -1].tolist(),
        "losses": losses,
        "beams": model.generate(**given, num_beams=3, max_new_tokens=6).tolist(),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {architecture: figures(architecture) for architecture in SCRATCH}
    EXPECTED.write_text(json.dumps(found, indent=1) + "\n")
