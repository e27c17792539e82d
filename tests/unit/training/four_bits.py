"""QLoRA: a base in 4 bits trains, is saved without them, and reads back the same.

One body for both machines: a Llama of a billion random weights where CUDA is, which prints the line
of LOG.md; a tiny one on any machine, which then has to hold 4 bits on a CPU. `test_four_bits.py`
runs this file in a process of its own, which has bitsandbytes.
"""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from kinesweep.checkpoints.model_dir import read_model_folder
from kinesweep.config.loading import load_config
from kinesweep.config.recipe import Recipe
from kinesweep.core.run_logger import NullRunLogger
from kinesweep.core.seeds import seed_everything
from kinesweep.models import Translator, lora
from kinesweep.store.extraction.build import extract_locally
from kinesweep.training.loop import components
from kinesweep.training.loop.run import RunSpec, train_run
from kinesweep.training.loop.trainer import TranslatorTrainer
from kinesweep.training.run_records.metrics import read_metrics
from kinesweep.training.run_records.run_identity import METRICS_FILE
from llamas import save_llama, tiny_llama
from shards import WORDS, h5_corpus

FINETUNE = Path(__file__).parents[3] / "jobs" / "recipes" / "signllava_finetune.yaml"
WIDTHS = {"pose": 208, "dino": 1152, "mae": 768, "sign2vec": 768}
BILLION = {
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
}
"""Sizes of Llama 3.2 1B: 1.24 billion weights."""
STEPS = 20


class Trained:
    """A run of the published recipe over a Llama made here, and the model as training left it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, gpus: int, **llama: Any) -> None:
        h5_corpus(folder / "h5", WIDTHS)
        model, text = tiny_llama([" ".join(WORDS) + "."], positions=2048, **llama)
        self.weights = model.num_parameters()
        save_llama(folder / "llama", model.to(torch.bfloat16), text)
        patch.setenv("KINESWEEP_H5", str(folder / "h5"))
        patch.setenv("KINESWEEP_LLAMA", str(folder / "llama"))
        changes = [f"resources.gpus={gpus}", "resources.cpus=1", "tracking=none"]
        changes += [f"training.max_steps={STEPS}", f"training.eval_steps={STEPS // 2}"]
        changes += ["training.warmup_steps=2", "training.learning_rate=1e-3"]
        changes += ["training.gradient_accumulation_steps=1", "training.logging_steps=1"]
        changes += ["checkpoints.keep=last"]  # so that what is handed over is what was trained last
        changes += ["prompt.chat=false", "prompt.system=''", "model.init_from=null"]
        recipe = load_config(Recipe, FINETUNE, changes)
        assert recipe.model.backbone.lora is not None
        assert recipe.model.backbone.lora.quantize == "nf4"
        models: list[Translator] = []

        class Watched(TranslatorTrainer):
            def __init__(self, model: Translator, *args: Any, **kwargs: Any) -> None:
                models.append(model)
                super().__init__(model, *args, **kwargs)

        patch.setattr(components, "TranslatorTrainer", Watched)
        store = extract_locally(recipe, root=folder / "stores")
        spec = RunSpec(recipe, store.folder, folder / "run")
        self.result = train_run(spec, NullRunLogger(), lambda _: True)
        self.folder, self.model = folder / "run", models[0].eval()
        self.base = folder / "llama"

    def losses(self) -> list[float]:
        return [
            line["token_loss"]
            for line in read_metrics(self.folder / METRICS_FILE)
            if "token_loss" in line
        ]


def logits(model: Translator) -> torch.Tensor:
    """Of one clip of random features, the same for each model, in the recipe's bf16."""
    seed_everything(0)
    here = model.device
    with torch.no_grad(), torch.autocast(here.type, torch.bfloat16):
        output = model(
            {name: torch.randn(1, 12, width).to(here) for name, width in WIDTHS.items()},
            {name: torch.ones(1, 12, dtype=torch.bool, device=here) for name in WIDTHS},
            labels=torch.tensor([[5, 6, 7, 2]], device=here),
        )
    return output.logits.float()


def check(trained: Trained, device: str) -> None:
    """It learnt, the checkpoint holds what was trained alone, and reads back the same."""
    import bitsandbytes

    assert (trained.result.status, trained.result.step) == ("finished", STEPS)
    losses = trained.losses()
    assert len(losses) == 2 and losses[1] < losses[0]
    kinds = {type(module) for module in trained.model.modules()}
    assert bitsandbytes.nn.Linear4bit in kinds
    free = {name: p for name, p in trained.model.named_parameters() if p.requires_grad}
    assert {p.dtype for p in free.values()} == {torch.float32}
    saved = load_file(trained.folder / "best" / "model.safetensors")
    assert not [n for n in saved if n.startswith("backbone.") and ".lora_" not in n]
    size = sum(tensor.numel() for tensor in saved.values())
    assert size == pytest.approx(sum(p.numel() for p in free.values()), rel=0.01)
    loaded = read_model_folder(trained.folder / "best", device).model
    assert bitsandbytes.nn.Linear4bit in {type(module) for module in loaded.modules()}
    assert {p.device.type for p in loaded.parameters()} == {device}
    learnt = {name: p for name, p in loaded.named_parameters() if name in free}
    assert all(torch.equal(p, learnt[name]) for name, p in free.items())
    # On CPUs with AVX-512 bitsandbytes rounds the scales of weights that were used once (0.50).
    close = {"cpu": 0.01}.get(device, 0.0)
    torch.testing.assert_close(logits(loaded), logits(trained.model), rtol=0.0, atol=close)


def test_a_billion_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.cuda.reset_peak_memory_stats()
    trained = Trained(tmp_path, monkeypatch, 1, **BILLION)
    assert trained.weights > 1e9
    peak = torch.cuda.max_memory_allocated()
    device, count = torch.cuda.get_device_name(), trained.weights / 1e9
    print(
        f"QLoRA of a random Llama of {count:.2f} billion weights in nf4, {STEPS} steps of"
        f" `signllava_finetune` on one {device}: at most {peak / 1e9:.2f} GB allocated,"
        f" {trained.result.seconds:.0f} s"
    )
    check(trained, "cuda")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lora, "_QUANTIZING_DEVICE_TYPES", ("cpu",))
        yield Trained(tmp_path_factory.mktemp("tiny"), patch, 0, width=64)


def test_a_tiny_one_on_a_cpu(tiny: Trained) -> None:
    check(tiny, "cpu")


def test_where_there_are_no_4_bits_it_is_read_whole(
    tiny: Trained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lora, "_QUANTIZING_DEVICE_TYPES", ())
    with caplog.at_level(logging.WARNING):
        whole = read_model_folder(tiny.folder / "best", "cpu").model
    assert "held in 4 bits (nf4) in training, but this machine lacks a CUDA GPU" in caplog.text
    kinds = {type(module).__name__ for module in whole.modules()}
    assert "Linear4bit" not in kinds
    found, wanted = logits(whole), logits(tiny.model)
    assert not torch.equal(found, wanted)
    torch.testing.assert_close(found, wanted, rtol=0.1, atol=0.1)
