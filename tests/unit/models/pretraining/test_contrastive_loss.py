"""The contrastive loss equals one written by hand, over one process and over two."""

import math

import pytest
import torch
from torch import Tensor

from kinesweep.models.losses.text_video_contrastive import compute_text_video_share
from kinesweep.models.pretraining.learned_temperature import LearnedTemperature
from ranks import run_ranks

_TEXT_IDS = [5, 9, 5, 2, 9]


def written(video: Tensor, text: Tensor, ids: list[int], scale: float) -> float:
    """One pair after the other; equal texts are no negatives of each other."""
    total, count = 0.0, len(ids)
    for i in range(count):
        others = [j for j in range(count) if j == i or ids[j] != ids[i]]
        for left, right in ((video, text), (text, video)):
            logits = {j: scale * float(left[i] @ right[j]) for j in others}
            total += math.log(sum(math.exp(x) for x in logits.values())) - logits[i]
    return total / (2 * count)


def unit(*shape: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape), dim=1)


@pytest.mark.parametrize("seed", range(20))
def test_the_loss_is_the_written_one(seed: int) -> None:
    torch.manual_seed(seed)
    video, text, scale = unit(5, 4), unit(5, 4), torch.tensor(7.0)
    loss = compute_text_video_share(video, text, torch.tensor(_TEXT_IDS)[:, None], scale)
    assert float(loss) == pytest.approx(written(video, text, _TEXT_IDS, 7.0), abs=1e-5)


def test_a_batch_of_one_text_has_no_negatives() -> None:
    torch.manual_seed(0)
    video, text = unit(3, 4).requires_grad_(), unit(3, 4)
    loss = compute_text_video_share(video, text, torch.ones(3, 1), torch.tensor(3.0))
    loss.backward()
    assert loss.item() == 0 and video.grad is not None and bool(video.grad.isfinite().all())


def test_the_temperature_is_clamped_and_comes_back() -> None:
    temperature = LearnedTemperature()
    assert temperature().item() == pytest.approx(1 / 0.07)
    temperature.log_scale.data.fill_(9.0)
    scale = temperature()
    assert scale.item() == pytest.approx(100)
    scale.backward()
    assert float(temperature.log_scale.grad) == pytest.approx(100)  # no dead gradient


_RANK = """
import torch
from kinesweep.models.losses.text_video_contrastive import compute_text_video_share
video, text, ids = (torch.tensor(x) for x in json.loads(sys.argv[1]))
own = slice(0, 2) if rank == 0 else slice(2, None)
weight = torch.eye(4).requires_grad_()
scale = torch.tensor(7.0, requires_grad=True)
unit = torch.nn.functional.normalize
loss = compute_text_video_share(unit(video[own] @ weight, dim=1), text[own], ids[own, None], scale)
loss.backward()
loss = loss.detach()
for x in (loss, weight.grad, scale.grad):
    dist.all_reduce(x)
print(json.dumps({"loss": float(loss), "w": weight.grad.tolist(), "s": float(scale.grad)}))
"""


def test_two_ranks_of_unequal_parts_equal_one_process() -> None:
    import json

    torch.manual_seed(3)
    video, text = torch.randn(5, 4), unit(5, 4)
    weight, scale = torch.eye(4).requires_grad_(), torch.tensor(7.0, requires_grad=True)
    projected = torch.nn.functional.normalize(video @ weight, dim=1)
    loss = compute_text_video_share(projected, text, torch.tensor(_TEXT_IDS)[:, None], scale)
    loss.backward()
    ranks = run_ranks(_RANK, [json.dumps([video.tolist(), text.tolist(), _TEXT_IDS])], 2)
    assert weight.grad is not None and scale.grad is not None
    for rank in ranks:
        assert rank["loss"] == pytest.approx(loss.item(), abs=1e-6)
        assert torch.allclose(torch.tensor(rank["w"]), weight.grad, atol=1e-6)
        assert rank["s"] == pytest.approx(float(scale.grad), abs=1e-6)
