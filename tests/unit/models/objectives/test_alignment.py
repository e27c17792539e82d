"""The loss of the stage `align` on tiny models: its parts, padding, and ranks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from kinesweep.config.recipe.training import TrainingConfig
from kinesweep.core.batch import IGNORE, Batch
from kinesweep.core.errors import CheckpointError, ConfigError
from kinesweep.core.seeds import seed_everything
from kinesweep.models import Translator
from kinesweep.models.losses.sign_contrastive import (
    compute_margins,
    compute_sign_contrastive_losses,
)
from kinesweep.models.objectives.alignment import AlignmentObjective
from kinesweep.models.objectives.attachment import (
    collect_objective_weights,
    detach_objective,
    load_objective,
    load_training_weights,
)
from kinesweep.models.objectives.selection import attach_objective
from ranks import run_ranks
from tolerances import FLOAT64, assert_same

Make = Callable[..., Translator]
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
SIGN_CONTRAST = {"weight": 0.5, "max_distance": 1.0}


def aligned(model: Translator, **training: Any) -> Translator:
    seed_everything(2)
    attach_objective(model, TrainingConfig.model_validate({"stage": "align", **training}))
    return model


def loss(model: Translator, batch: Batch, **more: Any) -> torch.Tensor:
    """The loss of the first batch of a run, whatever was computed before."""
    model.objective.num_batches.zero_()
    return model(**batch.get_forward_kwargs(), **more).loss


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("architecture", ["m2m_100", "bart", "t5"])
def test_it_is_the_sum_of_its_parts(translator: Make, batch: Batch, architecture: str) -> None:
    """Pooled, projected and compared as written out here, without the objective's own code."""
    # T5 has other names for its dropout, so the mode without any is used.
    model = aligned(
        translator(architecture),
        alignment={"contrastive_weight": 0.7, "restoration": {"weight": 0.3, "mask_share": 1}},
        sign_contrastive=SIGN_CONTRAST,
        gradient_accumulation_steps=2,
    ).eval()
    found, parts = loss(model, batch, num_items_in_batch=40), []
    ops, objective = model._backbone_ops, model.objective
    signs, texts, restored, contrast = [], [], [], []
    for row in range(4):
        streams = {n: x[row : row + 1] for n, x in batch.streams.items()}
        masks = {n: x[row : row + 1] for n, x in batch.frame_masks.items()}
        seen: dict[str, Any] = {}
        x_1NE, mask_1N = model.build_inputs_embeds(streams, masks, observe_frames=seen.update)
        encoded = model.backbone.get_encoder()(inputs_embeds=x_1NE, attention_mask=mask_1N.long())
        signs.append(objective.sign_projection(encoded[0][mask_1N].mean(0)))
        labels = batch.labels_BL[row : row + 1, : int((batch.labels_BL[row] != IGNORE).sum())]
        words = ops.embed_tokens(model.backbone, labels)
        read = model.backbone.get_encoder()(inputs_embeds=words)[0]
        texts.append(objective.text_projection(read[0].mean(0)))
        for x, mask in seen.values():
            margin = compute_margins(
                mask.sum(1), torch.tensor([labels.shape[1]]), objective.sign_contrastive
            )
            value = compute_sign_contrastive_losses(x, mask, margin, 1.0)
            contrast.append(value[0] / 2 * labels.shape[1] / 40)
    logits = functional.cosine_similarity(
        torch.stack(signs)[:, None], torch.stack(texts)[None], dim=2
    )
    logits = logits / 0.07
    both = (
        functional.cross_entropy(logits, torch.arange(4)),
        functional.cross_entropy(logits.T, torch.arange(4)),
    )
    parts.append(0.7 * (both[0] + both[1]) / 2 / 2)  # of two accumulated batches
    parts.append(0.5 * sum(contrast))
    without = {**objective.config.model_dump(), "restoration": None}
    weights = objective.state_dict()
    restored = found - sum(parts)
    assert (
        0.3 * 0.5 < float(restored.detach()) < 0.3 * 30
    )  # the rest is a loss of some nats per token
    del weights["mask_embedding"]
    aligned(model, alignment=without, sign_contrastive=SIGN_CONTRAST, gradient_accumulation_steps=2)
    model.objective.load_state_dict(weights)
    assert_same(loss(model.eval(), batch, num_items_in_batch=40), sum(parts))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("masking", ["last", "random"])
def test_padding_changes_nothing(
    translator: Make, batch: Batch, alone: Callable[[Batch, int], Batch], masking: str
) -> None:
    model = aligned(
        translator(),
        alignment={"restoration": {"masking": masking, "mask_share": 0.5}},
        sign_contrastive=SIGN_CONTRAST,
    ).eval()
    together = model.objective.compute_features(model, batch.get_forward_kwargs())
    for row in range(4):
        single = model.objective.compute_features(model, alone(batch, row).get_forward_kwargs())
        for name in ("sign_BP", "text_BP", "restoration_B", "sign_contrast_B"):
            assert_same(getattr(together, name)[row], getattr(single, name)[0])


def test_masked_tokens_are_hidden_from_the_encoder(translator: Make, batch: Batch) -> None:
    """A masked token changes the loss as a label alone; its own embedding is not read."""
    model = aligned(translator("m2m_100", **NO_DROPOUT), alignment={"contrastive_weight": 1e-9})
    seen = []
    inner = model.compute_logits
    model.compute_logits = lambda x, *rest: seen.append(x) or inner(x, *rest)  # type: ignore
    loss(model, batch)
    mask_E = model.objective.mask_embedding
    masked_BL = (seen[0] == mask_E).all(dim=2)
    lengths = (batch.labels_BL != IGNORE).sum(1)
    # One to the last share of 15 % of two to five tokens is one token, the last before the end.
    assert masked_BL.nonzero().tolist() == [[row, int(n) - 2] for row, n in enumerate(lengths)]


def test_a_causal_backbone_has_an_encoder_of_its_own(batch: Batch) -> None:
    from kinesweep.config.recipe.model import ModelConfig
    from kinesweep.core.vocabulary import Vocabulary
    from kinesweep.models import build_translator

    scratch = {"architecture": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    config = ModelConfig.model_validate({"backbone": {"kind": "causal", "scratch": scratch}})
    words = Vocabulary(size=30, pad_id=0, bos_id=1, eos_id=2)
    own = {"text_encoder": {"kind": "transformer", "heads": 2}, "restoration": None}
    model = aligned(build_translator(config, {"pose": 5, "dino": 3}, words), alignment=own)
    loss(model, batch).backward()
    assert all(p.grad is not None for p in model.objective.parameters())
    assert model.encoders["pose"].linear.weight.grad.any()
    # The order of words counts.
    swapped_BL = batch.labels_BL.flip(0).clone()
    swapped_BL[0, :2] = swapped_BL[0, :2].flip(0)
    model.eval()
    texts = [
        model.objective._project_texts(model, x)[0] for x in (batch.labels_BL.flip(0), swapped_BL)
    ]
    assert not torch.allclose(*texts)
    own["text_encoder"]["heads"] = 3
    with pytest.raises(ConfigError, match="must divide the width of the backbone, 16"):
        aligned(model, alignment=own)


def test_the_objective_is_kept_apart_from_the_model(
    translator: Make, batch: Batch, tmp_path: Path
) -> None:
    model = aligned(translator())
    loss(model, batch).backward()
    model.save_pretrained(tmp_path)
    save_file(collect_objective_weights(model), tmp_path / "objective.safetensors")
    with detach_objective(model):
        names = set(model.state_dict())
    loaded = Translator.from_pretrained(tmp_path)
    assert loaded.objective is None and set(loaded.state_dict()) == names
    other = aligned(translator(), seed=3)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    load_training_weights(other, tmp_path)
    assert other.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(x, model.state_dict()[n]) for n, x in other.state_dict().items())
    assert int(other.objective.num_batches) == 1
    (tmp_path / "objective.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"objective\.safetensors` does not hold the weights"):
        load_objective(other, tmp_path)


RANK = """
sys.path.insert(0, sys.argv[1])
from test_alignment import gradients
torch.manual_seed(0)
print(json.dumps(gradients(slice(0, 3) if rank == 0 else slice(3, 4))))
"""


def gradients(rows: slice) -> dict[str, list[float]]:
    """Gradients of the contrastive loss of some clips of four, two of which have the same text."""
    rng = torch.Generator().manual_seed(5)
    signs, texts = (torch.randn(4, 3, generator=rng, dtype=torch.float64) for _ in range(2))
    labels = torch.tensor([[4, 5, 2], [4, 6, 2], [4, 5, 2], [7, 2, IGNORE]])[rows]
    labels = labels[:, : int((labels != IGNORE).sum(1).max())]  # ranks pad differently
    training = TrainingConfig.model_validate({"stage": "align"})
    objective = AlignmentObjective(training, 3).double()
    leaves = [x[rows].clone().requires_grad_() for x in (signs, texts)]
    value = objective._compute_contrastive_loss(*leaves, labels)
    value.backward()
    grads = {"sign": leaves[0].grad, "text": leaves[1].grad, "scale": objective.log_scale.grad}
    return {"loss": [float(value)]} | {n: g.flatten().tolist() for n, g in grads.items()}


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_two_ranks_have_the_loss_and_the_gradients_of_one() -> None:
    """With three clips on one rank and one on the other."""
    whole = gradients(slice(0, 4))
    first, second = run_ranks(FLOAT64 + RANK, [str(Path(__file__).parent)], 2)
    for name in ("sign", "text"):
        assert first[name] + second[name] == pytest.approx(whole[name], rel=1e-9, abs=1e-12)
    for name in ("loss", "scale"):  # each rank has its part
        assert first[name][0] + second[name][0] == pytest.approx(whole[name][0], rel=1e-9)
    assert first["loss"] != second["loss"]
    assert json.dumps(first) != json.dumps(second)


def test_the_temperature_leaves_its_limit_again(translator: Make) -> None:
    model = aligned(translator(), alignment={"temperature": 0.01, "restoration": None})
    objective = model.objective
    with torch.no_grad():
        objective.log_scale += 0.1
    assert float(objective.scale) == pytest.approx(100)
    objective.scale.backward()
    assert float(objective.log_scale.grad) > 0
