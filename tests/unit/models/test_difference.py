"""The difference from a reference: exact, the same in training and generation, outside fusion."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.motion_reference import MotionReferenceConfig
from kinesweep.core.batch import Batch, BatchLayout
from kinesweep.core.errors import ConfigError, InputError
from kinesweep.core.schema import StoreSchema, StreamSchema
from kinesweep.core.seeds import seed_everything
from kinesweep.core.skeleton.pose import PointLayout
from kinesweep.core.skeleton.skeleton import ROOT
from kinesweep.core.vocabulary import Vocabulary
from kinesweep.models import Translator, build_translator
from kinesweep.models.attention_maps import compute_attention_maps
from kinesweep.models.encoders.batch_norm import BatchNorm
from kinesweep.models.motion_difference import MotionDifference
from kinesweep.models.streams import find_skeletons
from tolerances import assert_same
from trees import made

pytestmark = pytest.mark.usefixtures("float64")

MODES = ("subtract", "concat", "both")
KINDS: dict[str, dict[str, Any]] = {
    "linear": {"kind": "linear"},
    "mlp": {"kind": "mlp", "hidden": [8]},
    "adapter": {"kind": "adapter", "bottleneck": 4},
    "cnn": {"kind": "cnn", "channels": 8, "strides": [1, 2]},
    "stgcn": {"kind": "stgcn", "channels": 2, "blocks": 2, "kernel": 3, "hops": 1},
    "stagcn": {
        **{"kind": "stagcn", "features": [2], "attention": [4], "perception": [3], "head": 4},
        **{"graphs": 2, "kernel": 3, "hops": 1},
    },
}
Make = Callable[..., ModelConfig]


@pytest.fixture
def build(recipe: Make, words: Vocabulary) -> Callable[..., Translator]:
    """`build("both", "stgcn", streams=["pose"], dropout=0.5)`; `pose` has five points."""

    def make(
        mode: str = "both",
        kind: str = "linear",
        streams: tuple[str, ...] = ("pose", "reference"),
        dropout: float = 0.0,
        **parts: Any,
    ) -> Translator:
        seed_everything(1)
        plain = recipe(dropout=0.0, attention_dropout=0.0).model_dump(mode="json")
        plain["encoder"] = {**KINDS[kind], "dropout": dropout}
        plain |= {"reference": {"mode": mode}, **parts}
        skeletons = {"pose": made([ROOT, 0, 1, 2, 3])}
        config = ModelConfig.model_validate(plain)
        return build_translator(config, dict.fromkeys(streams, 5), words, skeletons=skeletons)

    return make


@pytest.fixture
def pairs(batch: Batch) -> Batch:
    """Clips with references that are not like them."""
    x_BTD, mask_BT = batch.streams["pose"], batch.frame_masks["pose"]
    other_BTD = torch.randn(x_BTD.shape, generator=torch.Generator().manual_seed(3))
    return replace(
        batch,
        streams={"pose": x_BTD, "reference": other_BTD},
        frame_masks={"pose": mask_BT, "reference": mask_BT.clone()},
    )


def own(batch: Batch) -> Batch:
    """Each clip is its reference."""
    x_BTD = batch.streams["pose"]
    return replace(batch, streams={"pose": x_BTD, "reference": x_BTD.clone()})


def alone(batch: Batch) -> Batch:
    """Without references."""
    held = {"streams": batch.streams, "frame_masks": batch.frame_masks}
    return replace(batch, **{key: {"pose": x["pose"]} for key, x in held.items()})


class Seen:
    """What a model's difference is made of, and what it becomes."""

    def __init__(self, model: Translator) -> None:
        self.made: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        assert model.reference is not None
        joined = model.reference.combine

        def see(x_BNE: torch.Tensor, r_BNE: torch.Tensor) -> torch.Tensor:
            out_BNE = joined(x_BNE, r_BNE)
            self.made.append((x_BNE.detach(), r_BNE.detach(), out_BNE.detach()))
            return out_BNE

        model.reference.combine = see  # type: ignore[method-assign]


@pytest.mark.parametrize("mode", MODES)
def test_it_is_real_in_training_and_equal_in_generation(
    build: Callable[..., Translator], pairs: Batch, mode: str
) -> None:
    """The predecessor's was zero in training and real in generation."""
    model = build(mode)
    seen = Seen(model)
    model.train()(**pairs.get_forward_kwargs())
    model.eval().generate(**pairs.get_generate_kwargs(), max_new_tokens=2)
    model.compute_token_sums(pairs)
    first, *others = seen.made
    mask_BT = pairs.frame_masks["pose"]
    assert ((first[0] - first[1])[mask_BT].abs().amax(dim=1) > 0.1).all()
    assert len(others) == 2
    for other in others:
        for here, there in zip(first, other, strict=True):
            assert torch.equal(here[mask_BT], there[mask_BT])


@pytest.mark.parametrize("mode", MODES)
def test_it_is_the_clip_less_the_reference(
    build: Callable[..., Translator], pairs: Batch, mode: str
) -> None:
    model = build(mode).eval()
    seen = Seen(model)
    model(**pairs.get_forward_kwargs())
    x_BTD, mask_BT = (
        [held["pose"], held["reference"]] for held in (pairs.streams, pairs.frame_masks)
    )
    with torch.no_grad():
        x, r = (model.encoders["pose"](*own)[0] for own in zip(x_BTD, mask_BT, strict=True))
        other = r if mode == "concat" else x - r
        wanted = other if mode == "subtract" else model.reference.join(torch.cat([x, other], 2))
    assert_same(seen.made[0][2], wanted)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_differs_from_itself_by_exactly_nothing(
    build: Callable[..., Translator], pairs: Batch, kind: str, dropout: float, training: bool
) -> None:
    """With dropout too, which drops the same of both."""
    model = build("subtract", kind, dropout=dropout).train(training)
    seen = Seen(model)
    with torch.no_grad():
        model(**own(pairs).get_forward_kwargs())
        model(**pairs.get_forward_kwargs())
    (x, r, out), (_, _, other) = seen.made
    assert not out.any() and torch.equal(x, r) and x.any() and other.any()


def test_what_is_equal_differs_by_nothing_however_rows_are_rounded() -> None:
    class Rounds(torch.nn.Module):
        """Each row of a batch a little otherwise, as large products do."""

        def forward(self, x_BTD: torch.Tensor, mask_BT: torch.Tensor) -> Any:
            return x_BTD + 1e-6 * torch.arange(len(x_BTD))[:, None, None], mask_BT

    difference = MotionDifference(MotionReferenceConfig(mode="subtract"), 3)
    x_BTD, mask_BT = torch.randn(2, 4, 3), torch.ones(2, 4, dtype=torch.bool)
    other_BTD = torch.cat([x_BTD[:1], torch.randn(1, 4, 3)])  # the first is its own
    streams, masks = (
        {"pose": x_BTD, "reference": other_BTD},
        {"pose": mask_BT, "reference": mask_BT},
    )
    out_BNE, _ = difference(Rounds(), streams, masks, BatchLayout.from_masks(masks).frames)
    assert not out_BNE[0].any() and out_BNE[1].any()


def test_dropout_drops_the_same_of_both(build: Callable[..., Translator], pairs: Batch) -> None:
    """Not only of equal clips, whose vectors are taken as they are."""
    plain = {"norm_out": False, "activation": "none"}
    KINDS["bare"] = {"kind": "linear", **plain}
    model = build("subtract", "bare", dropout=0.5).train()
    del KINDS["bare"]
    seen = Seen(model)
    model(**pairs.get_forward_kwargs())
    model(**pairs.get_forward_kwargs())
    (x, r, _), (again, _, _) = seen.made
    assert torch.equal(x == 0, r == 0) and 0.3 < (x == 0).float().mean() < 0.7
    assert not torch.equal(x == 0, again == 0)
    assert not any(one._forward_hooks for one in model.encoders.modules())


def test_weights_that_adapters_meet_have_no_halves(
    recipe: Make, words: Vocabulary, pairs: Batch
) -> None:
    """STA-GCN multiplies its head's matrices, adapters beside them: 5 rows, and not of clips."""
    plain = recipe().model_dump(mode="json")
    plain["encoder"] = {**KINDS["stagcn"], "attention": [5], "lora": {"rank": 2, "dropout": 0.5}}
    config = ModelConfig.model_validate(
        {**plain, "reference": {"mode": "subtract"}, "init_from": "an earlier run"}
    )
    skeletons = {"pose": made([ROOT, 0, 1, 2, 3])}
    widths = {"pose": 5, "reference": 5}
    model = build_translator(config, widths, words, skeletons=skeletons)
    assert model.train()(**pairs.get_forward_kwargs()).loss.isfinite()


@pytest.mark.parametrize("kind", ["linear", "stagcn"])
def test_without_references_each_clip_is_its_own(
    build: Callable[..., Translator], pairs: Batch, kind: str
) -> None:
    """Same weights, same loss: what was learnt without them goes on with them."""
    without, held = build("both", kind, streams=("pose",)), build("both", kind)
    held.load_state_dict(without.state_dict())
    for training in (False, True):
        one = without.train(training)(**alone(pairs).get_forward_kwargs()).loss
        two = held.train(training)(**own(pairs).get_forward_kwargs()).loss
        assert_same(one, two)


def test_norms_see_clips_and_references_as_one_batch(
    build: Callable[..., Translator], pairs: Batch
) -> None:
    model, both = build("subtract", "stgcn").train(), build("subtract", "stgcn").train()
    model(**pairs.get_forward_kwargs())
    x_2BTD = torch.cat(list(pairs.streams.values()))
    with torch.no_grad():
        both.encoders["pose"](x_2BTD, torch.cat(list(pairs.frame_masks.values())))
    norms = [
        [one.running_mean for one in m.modules() if isinstance(one, BatchNorm)]
        for m in (model, both)
    ]
    assert len(norms[0]) > 2 and all(map(torch.equal, *norms))


@pytest.mark.parametrize("mode", MODES)
def test_it_is_saved_and_read(
    build: Callable[..., Translator], pairs: Batch, mode: str, tmp_path: Path
) -> None:
    model = build(mode).eval()
    model.save_pretrained(tmp_path)
    again = Translator.from_pretrained(tmp_path).eval()
    assert torch.equal(
        model(**pairs.get_forward_kwargs()).logits, again(**pairs.get_forward_kwargs()).logits
    )
    assert [name for name in model.state_dict() if name.startswith("reference")] == (
        [] if mode == "subtract" else ["reference.join.weight", "reference.join.bias"]
    )


@pytest.mark.parametrize("mode", ["concat", "both"])
def test_it_begins_as_the_clip_with_a_little_of_the_rest(
    build: Callable[..., Translator], pairs: Batch, mode: str
) -> None:
    model = build(mode).eval()
    seen = Seen(model)
    model(**pairs.get_forward_kwargs())
    x, r, out = seen.made[0]
    little = (out - x).norm() / (r if mode == "concat" else x - r).norm()
    assert 0.02 < little < 0.3


def test_a_reference_has_no_vectors_and_freezes_with_the_encoder(
    build: Callable[..., Translator], pairs: Batch
) -> None:
    model = build(fusion={"separators": True}, freeze=["encoder"]).eval()
    assert list(model.encoders) == ["pose"] == list(model.fusion.separators)
    frozen = {name for name, one in model.named_parameters() if not one.requires_grad}
    assert {"reference.join.weight", "reference.join.bias"} <= frozen
    assert [
        one.stream for one in compute_attention_maps(model, pairs)[0].spans if one.kind == "stream"
    ] == ["pose"]


def test_lengths_that_differ_are_refused(build: Callable[..., Translator], pairs: Batch) -> None:
    pairs.frame_masks["reference"][2, -3:] = False
    pairs.frame_masks["reference"][2, 3] = False
    with pytest.raises(InputError, match="row 2 of a batch has 5 frames of `pose`, but 3 of `ref"):
        build()(**pairs.get_forward_kwargs())


def problems(act: Callable[[], Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        act()
    return dict(caught.value.problems)


def test_what_cannot_be_is_refused(build: Callable[..., Translator]) -> None:
    found = problems(lambda: build("subtract", streams=("pose", "face")))
    assert "of a clip from itself is zero" in found["model.reference.mode"]
    found = problems(lambda: build(streams=("pose", "refrence")))
    assert "did you mean `refrence`?" in found["model.reference.against"]
    found = problems(
        lambda: build(
            encoders={"reference": {}},
            fusion={"kind": "channel", "length_of": "reference", "stream_dropout": 0.1},
            reference={"stream": "poses"},
        )
    )
    assert set(found) == {
        "model.reference.stream",
        "model.encoders.reference",
        "model.fusion.length_of",
        "model.fusion.stream_dropout",
    }
    with pytest.raises(ValueError, match="are both `pose`"):
        MotionReferenceConfig(stream="pose", against="pose")


def test_other_widths_and_points_are_refused(recipe: Make, words: Vocabulary) -> None:
    config = ModelConfig.model_validate({**recipe().model_dump(mode="json"), "reference": {}})
    found = problems(lambda: build_translator(config, {"pose": 5, "reference": 6}, words))
    assert "has 6 values per frame, but `pose` has 5" in found["model.reference.against"]
    points = [PointLayout((("BODY", names),)) for names in (("a", "b"), ("b", "a"))]
    streams = [StreamSchema(4, 20.0, "float32", layout) for layout in points]
    schema = StoreSchema(dict(zip(("pose", "reference"), streams, strict=True)))
    found = problems(lambda: find_skeletons(config, schema))
    assert "has other points than `pose`" in found["model.reference.against"]
