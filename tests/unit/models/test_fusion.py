"""Splicing, streams one after another or side by side, and streams that are left out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.batch import Batch
from kinesweep.core.errors import CheckpointError
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator
from kinesweep.models.fusion import concat_unpadded, draw_kept_streams
from tolerances import assert_same

pytestmark = pytest.mark.usefixtures("float64")

WIDTHS = {"pose": 5, "dino": 3}
WAYS: dict[str, dict[str, Any]] = {
    "time": {},
    "separators": {"separators": True},
    "channel": {"kind": "channel"},
    "channel, nearest": {"kind": "channel", "resample": "nearest", "length_of": "dino"},
}
Make = Callable[..., Translator]


@pytest.fixture
def fused(recipe: Callable[..., ModelConfig], words: Vocabulary) -> Make:
    """A seeded model: `fused("t5", kind="channel")`."""

    def make(architecture: str = "m2m_100", **fusion: Any) -> Translator:
        plain = {**recipe(architecture, dropout=0.0).model_dump(mode="json"), "fusion": fusion}
        if architecture == "t5":
            plain["backbone"]["scratch"].pop("dropout")
        seed_everything(1)
        return build_translator(ModelConfig.model_validate(plain), WIDTHS, words)

    return make


def parts(num_rows: int, *widths: int) -> list[tuple[Tensor, Tensor]]:
    """Random vectors with random masks, padded on the right; some are empty."""
    made = []
    for width in widths:
        lengths = torch.randint(0, width + 1, (num_rows, 1))
        made.append((torch.randn(num_rows, width, 2), torch.arange(width) < lengths))
    end = (torch.full((num_rows, 1, 2), 9.0), torch.ones(num_rows, 1, dtype=torch.bool))
    return [*made, end]


def longest(given: list[tuple[Tensor, Tensor]]) -> int:
    return int(sum(mask.sum(dim=1) for _, mask in given).max())  # type: ignore[union-attr]


def one_by_one(given: list[tuple[Tensor, Tensor]], row: int) -> Tensor:
    return torch.cat([x[row][mask[row]] for x, mask in given])


def test_each_row_is_its_real_vectors_in_order() -> None:
    torch.manual_seed(0)
    for widths in [(3, 5), (0, 4), (2, 6, 3), (1,)]:
        given = parts(6, *widths)
        x_BME, mask_BM = concat_unpadded(given, longest(given))
        rows = [one_by_one(given, row) for row in range(6)]
        assert mask_BM.sum(dim=1).tolist() == [len(row) for row in rows]
        assert x_BME.shape[1] == max(len(row) for row in rows)
        for row, expected in enumerate(rows):
            assert torch.equal(x_BME[row, : len(expected)], expected)
            assert mask_BM[row, : len(expected)].all()
            assert not x_BME[row, len(expected) :].any()


def test_gradients_reach_real_vectors_alone() -> None:
    torch.manual_seed(0)
    given = parts(4, 3, 5)
    x = given[1][0].requires_grad_()
    concat_unpadded(given, longest(given))[0].sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, given[1][1][:, :, None].expand_as(x).float())


def test_not_a_number_in_the_padding_stays_there() -> None:
    x = torch.tensor([[[1.0], [float("nan")]], [[2.0], [3.0]]])
    mask = torch.tensor([[True, False], [True, True]])
    assert concat_unpadded([(x, mask)], 2)[0].flatten().tolist() == [1.0, 0.0, 2.0, 3.0]


@pytest.mark.parametrize("way", WAYS)
def test_a_row_in_a_batch_equals_the_row_alone(
    fused: Make, batch: Batch, alone: Callable[[Batch, int], Batch], way: str
) -> None:
    model = fused(**WAYS[way]).eval()
    x_BNE, mask_BN = model.build_inputs_embeds(**batch.get_generate_kwargs())
    for row in range(4):
        one, mask_1N = model.build_inputs_embeds(**alone(batch, row).get_generate_kwargs())
        assert mask_1N.all() and int(mask_BN[row].sum()) == one.shape[1]
        assert_same(x_BNE[row, : one.shape[1]], one[0])


@pytest.mark.parametrize("way", WAYS)
def test_what_is_saved_is_what_is_loaded(
    fused: Make, batch: Batch, tmp_path: Path, way: str
) -> None:
    model = fused(**WAYS[way]).eval()
    model.save_pretrained(tmp_path)
    again = Translator.from_pretrained(tmp_path).eval()
    assert torch.equal(
        again(**batch.get_forward_kwargs()).logits, model(**batch.get_forward_kwargs()).logits
    )


@pytest.mark.parametrize("way", WAYS)
def test_every_weight_learns_also_where_streams_are_left_out(
    fused: Make, batch: Batch, way: str
) -> None:
    model = fused(**WAYS[way], stream_dropout=0.5).train()
    model(**batch.get_forward_kwargs()).loss.backward()
    ours = {**dict(model.encoders.named_parameters()), **dict(model.fusion.named_parameters())}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in ours.values())


def test_separators_stand_before_their_streams(fused: Make, batch: Batch) -> None:
    model = fused(separators=True).eval()
    x_BNE, mask_BN = model.build_inputs_embeds(**batch.get_generate_kwargs())
    assert mask_BN.sum(1).tolist() == [0 + 8 + 3 + 1, 3 + 4 + 5 + 1, 1 + 6 + 4 + 1, 2 + 2 + 2 + 1]
    assert torch.equal(x_BNE[1, 3], model.fusion.separators["pose"])
    assert torch.equal(x_BNE[1, 3 + 1 + 3], model.fusion.separators["dino"])


def test_separators_begin_as_large_as_tokens(fused: Make) -> None:
    for architecture in ("m2m_100", "t5"):
        model = fused(architecture, separators=True)
        words_WE = model._backbone_ops.embed_tokens(model.backbone, torch.arange(30)[None])[0]
        ours = torch.stack(list(model.fusion.separators.values()))
        assert 0.5 < float(ours.std() / words_WE.std()) < 2
        assert not torch.equal(ours[0], ours[1])


def test_separators_change_nothing_else(fused: Make) -> None:
    plain, more = fused().state_dict(), fused(separators=True).state_dict()
    assert all(torch.equal(more[name], value) for name, value in plain.items() if "fc" in name)
    assert set(more) - set(plain) == {"fusion.separators.pose", "fusion.separators.dino"}


def test_a_renamed_stream_is_a_missing_key(fused: Make, tmp_path: Path) -> None:
    model = fused(separators=True)
    model.config.streams = [["pose", 5], ["mae", 3]]
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"missing.*mae.*unexpected.*dino"):
        Translator.from_pretrained(tmp_path)


def test_channels_are_projected_at_the_moments_of_one_stream(fused: Make, batch: Batch) -> None:
    model = fused(kind="channel", length_of="dino", resample="nearest").eval()
    x_BNE, mask_BN = model.build_inputs_embeds(**batch.get_generate_kwargs())
    assert mask_BN.sum(1).tolist() == [0 + 2 + 1, 3 + 4 + 1, 1 + 3 + 1, 2 + 1 + 1]
    frames = {
        name: encoder(batch.streams[name], batch.frame_masks[name])[0]
        for name, encoder in model.encoders.items()
    }
    # Clip a: two vectors of `dino`, and of the 7 of `pose` those in the middle of each half.
    beside = torch.cat([frames["pose"][0, [1, 5]], frames["dino"][0, :2]], dim=1)
    assert_same(x_BNE[0, :2], model.fusion.project(beside))


def test_nothing_is_left_out_in_evaluation(fused: Make, batch: Batch) -> None:
    for way in WAYS.values():
        dropping = fused(**way, stream_dropout=0.9).eval()
        plain = fused(**way).eval()
        state = torch.get_rng_state()
        a, b = (
            model.build_inputs_embeds(**batch.get_generate_kwargs()) for model in (dropping, plain)
        )
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
        assert torch.equal(torch.get_rng_state(), state), "nothing is drawn"


def test_a_stream_that_is_left_out_goes_with_its_separator(fused: Make, batch: Batch) -> None:
    model = fused(separators=True, stream_dropout=0.5).train()
    for encoder in model.encoders.values():
        encoder.eval()
    seen = set()
    for _ in range(40):
        _, mask_BN = model.build_inputs_embeds(**batch.get_generate_kwargs())
        seen.add(int(mask_BN[0].sum()))
    assert seen == {8 + 3 + 1, 8 + 1, 3 + 1}


def test_a_channel_that_is_left_out_is_zero(fused: Make, batch: Batch) -> None:
    model = fused(kind="channel", stream_dropout=0.9).train()
    for encoder in model.encoders.values():
        encoder.eval()
    pose_BTE = model.encoders["pose"](batch.streams["pose"], batch.frame_masks["pose"])[0]
    alone = torch.nn.functional.pad(pose_BTE[0], (0, 16))
    wanted = model.fusion.project(alone)
    rows = [model.build_inputs_embeds(**batch.get_generate_kwargs())[0][0, :7] for _ in range(20)]
    assert any(torch.allclose(row, wanted, rtol=1e-9, atol=1e-12) for row in rows)


def test_dropout_is_even_seeded_and_never_of_all() -> None:
    counts = dict.fromkeys("abc", (2,) * 4000)
    torch.manual_seed(3)
    kept = draw_kept_streams(counts, 0.5)
    torch.manual_seed(3)
    assert draw_kept_streams(counts, 0.5) == kept
    kept_BS = torch.tensor(kept)
    assert kept_BS.any(dim=1).all()
    # A third of the eighth that would lose all keeps this one: 1/2 + 1/24.
    assert kept_BS.float().mean(0).tolist() == pytest.approx([0.5 + 1 / 24] * 3, abs=0.03)
    assert float((kept_BS.sum(1) == 3).float().mean()) == pytest.approx(1 / 8, abs=0.02)
