"""Streams give way to prompt and text; what they lose is the same in any batch, and counted."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.core.batch import Batch
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.seeds import seed_everything
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator
from kinesweep.models.backbones import BACKBONES
from kinesweep.models.length_budget import TruncationStats, compute_truncated_lengths
from tolerances import assert_same

pytestmark = pytest.mark.usefixtures("float64")

WIDTHS = {"pose": 5, "dino": 3}
Make = Callable[..., Translator]
Alone = Callable[[Batch, int], Batch]
WAYS: list[dict[str, Any]] = [{}, {"separators": True}, {"kind": "channel"}]


@pytest.fixture
def limited(recipe: Callable[..., ModelConfig], words: Vocabulary) -> Make:
    """A seeded BART with so many positions: `limited(10, kind="channel")`."""

    def make(positions: int, reserve: int | None = 6, **fusion: Any) -> Translator:
        config = recipe("bart", max_position_embeddings=positions, dropout=0.0)
        plain = config.model_dump(mode="json")
        plain |= {"fusion": fusion, "reserved_text_tokens": reserve}
        seed_everything(1)
        return build_translator(ModelConfig.model_validate(plain), WIDTHS, words)

    return make


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if text took of the input's positions, as in a causal model."""
    monkeypatch.setattr(
        BACKBONES["seq2seq"], "get_total_limit", BACKBONES["seq2seq"].get_input_limit
    )
    yield


@pytest.mark.parametrize(
    ("lengths", "others", "kept"),
    [
        ([40, 40], 20, [40, 40]),  # all fit
        ([60, 60], 20, [40, 40]),
        ([60, 20], 20, [60, 20]),
        ([120, 40], 20, [60, 20]),  # each the same share
        ([121, 41], 20, [60, 20]),
        ([200, 1], 20, [79, 1]),
        ([200, 2], 20, [79, 1]),
        ([200, 0], 20, [80, 0]),  # none stays none
        ([50, 50, 50], 20, [27, 27, 26]),  # the first of equals
        ([9, 9], 98, [1, 1]),
        ([9], 99, [1]),
    ],
)
def test_streams_lose_the_same_share(lengths: list[int], others: int, kept: list[int]) -> None:
    assert compute_truncated_lengths(lengths, others, 10, 110, "") == kept


def test_all_room_is_used_and_no_stream_grows_or_vanishes() -> None:
    torch.manual_seed(0)
    for _ in range(500):
        lengths = torch.randint(0, 60, (int(torch.randint(1, 5, ())),)).tolist()
        room = int(torch.randint(len(lengths), 80, ()))
        kept = compute_truncated_lengths(lengths, 7, 5, room + 12, "")
        assert sum(kept) == min(room, sum(lengths))
        assert all(min(1, n) <= k <= n for n, k in zip(lengths, kept, strict=True))


def test_a_prompt_that_leaves_no_room_is_named() -> None:
    with pytest.raises(
        InputError, match=r"clip `x`.*each of 2.* 30 of 40.*9 are reserved.*context"
    ):
        compute_truncated_lengths([5, 5], 30, 9, 40, "clip `x`")
    with pytest.raises(InputError, match=r"39 of 40 positions\. Shorten"):
        compute_truncated_lengths([5, 5], 39, 0, 40, "clip `x`")


@pytest.mark.parametrize("fusion", WAYS)
def test_what_is_too_long_is_cut_on_the_side_of_the_streams(
    limited: Make, batch: Batch, fusion: dict[str, Any]
) -> None:
    whole = limited(99, **fusion).eval()
    short = limited(8, **fusion).eval()
    short.load_state_dict(whole.state_dict() | {
        name: value for name, value in short.state_dict().items() if "positions" in name
    })  # fmt: skip
    x_BNE, mask_BN = whole.build_inputs_embeds(**batch.get_generate_kwargs())
    y_BNE, kept_BN = short.build_inputs_embeds(**batch.get_generate_kwargs())
    assert kept_BN.sum(1).tolist() == [min(8, n) for n in mask_BN.sum(1).tolist()]
    for row, prompt in enumerate(batch.prompt_mask_BP.sum(1).tolist()):
        full, cut = x_BNE[row][mask_BN[row]], y_BNE[row][kept_BN[row]]
        assert torch.equal(cut[: prompt + 1], full[: prompt + 1]), "prompt and first frame"
        assert torch.equal(cut[-1], full[-1]), "the end"
    assert not whole.truncation_stats


def test_what_is_cut_is_counted_by_stream(limited: Make, batch: Batch) -> None:
    model = limited(8).eval()
    # With prompt and end: 7+2+1, 3+3+4+1, 1+5+3+1, 2+1+1+1 for 8 positions.
    model.build_inputs_embeds(**batch.get_generate_kwargs())
    assert model.truncation_stats == {
        "pose": TruncationStats(3, 2 + 1 + 1),
        "dino": TruncationStats(2, 0 + 2 + 1),
    }
    model.build_inputs_embeds(**batch.get_generate_kwargs())
    assert model.truncation_stats == {"pose": TruncationStats(6, 8), "dino": TruncationStats(4, 6)}
    channel = limited(6, kind="channel")
    channel.build_inputs_embeds(**batch.get_generate_kwargs())
    assert channel.truncation_stats == {"pose": TruncationStats(3, 2 + 1 + 1)}, (
        "that whose length counts"
    )


@pytest.mark.parametrize("fusion", WAYS)
def test_a_row_in_a_batch_equals_the_row_alone(
    limited: Make, batch: Batch, alone: Alone, fusion: dict[str, Any]
) -> None:
    model = limited(9, **fusion).eval()
    logits_BLV = model(**batch.get_forward_kwargs()).logits
    for row in range(4):
        one = alone(batch, row)
        given = model(**one.get_forward_kwargs()).logits[0]
        assert_same(logits_BLV[row, : len(given)], given)


@pytest.mark.usefixtures("shared")
def test_the_response_is_never_cut_and_training_sees_what_generation_sees(
    limited: Make, batch: Batch, alone: Alone
) -> None:
    model = limited(15, reserve=6).eval()
    seen: list[torch.Tensor] = []
    inner = model._build_input_vectors

    def build(*args: Any, **kwargs: Any) -> Any:
        vectors = inner(*args, **kwargs)
        seen.append(vectors.x_BNE)
        return vectors

    model._build_input_vectors = build  # type: ignore[method-assign]
    output = model(**batch.get_forward_kwargs())
    assert output.logits.shape[1] == batch.labels_BL.shape[1], "every label has its logits"
    model.generate(**batch.get_generate_kwargs(), max_new_tokens=2)
    model.compute_token_sums(batch)
    assert seen[0].shape[1] == 15 - 6
    assert all(torch.equal(x_BNE, seen[0]) for x_BNE in seen)
    # Row b has 11 vectors and 3 labels, which alone would leave it 12 positions.
    model(**alone(batch, 1).get_forward_kwargs())
    assert_same(seen[3][0], seen[0][1])


@pytest.mark.usefixtures("shared")
def test_more_text_than_is_reserved_is_refused(limited: Make, batch: Batch) -> None:
    model = limited(20, reserve=5)
    for call in (
        lambda: model(**batch.get_forward_kwargs()),
        lambda: model.compute_token_sums(batch),
        lambda: model.generate(**batch.get_generate_kwargs(), max_new_tokens=6),
    ):
        with pytest.raises(
            InputError, match=r"of 6 tokens .*reserved_text_tokens` \(5\); set it to 6"
        ):
            call()


def test_a_prompt_without_room_names_the_clip(limited: Make, batch: Batch) -> None:
    with pytest.raises(InputError, match="clip `b`"):
        limited(5).build_inputs_embeds(**batch.get_generate_kwargs())
    inputs = {name: x for name, x in batch.get_generate_kwargs().items() if name != "clip_ids"}
    with pytest.raises(InputError, match="clip `row 1`"):
        limited(5).build_inputs_embeds(**inputs)


def test_streams_that_are_left_out_do_not_change_what_is_kept(limited: Make, batch: Batch) -> None:
    model = limited(8, stream_dropout=0.5).train()
    for encoder in model.encoders.values():
        encoder.eval()
    lengths = {
        int(model.build_inputs_embeds(**batch.get_generate_kwargs())[1][1].sum()) for _ in range(40)
    }
    # Clip b keeps 2 of `pose` and 2 of `dino` beside 3 of its prompt and the end.
    assert lengths == {8, 6}


def test_without_a_reserve_nothing_is_cut(limited: Make, batch: Batch) -> None:
    with pytest.raises(InputError, match="of 11 does not fit"):
        limited(10, reserve=None)(**batch.get_forward_kwargs())


def test_a_reserve_in_vain_is_refused(
    recipe: Callable[..., ModelConfig], words: Vocabulary, limited: Make, shared: None
) -> None:
    plain = {**recipe("t5").model_dump(mode="json"), "reserved_text_tokens": 4}
    with pytest.raises(ConfigError, match=r"model\.reserved_text_tokens .*no position limit"):
        build_translator(ModelConfig.model_validate(plain), WIDTHS, words)
    with pytest.raises(ConfigError, match=r"below the backbone's 8 positions, but is 8"):
        limited(8, reserve=8)
