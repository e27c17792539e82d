"""Parts of packages that fail at run time: named errors, and no results from wrong shapes."""

import math
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from kinesweep.config.loading import validate_config
from kinesweep.config.parts import EncoderPart, FeaturesPart, LossPart, MetricPart, SourcePart
from kinesweep.config.parts.recorded_settings import find_record_problem
from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.config.recipe.model import ModelConfig
from kinesweep.config.recipe.model.backbone import BackbonePart
from kinesweep.core.clip import Clip
from kinesweep.core.errors import ClipError, ConfigError, InputError
from kinesweep.core.units import Span
from kinesweep.evaluation.metrics.base import ClipMeanMetric
from kinesweep.evaluation.metrics.metric_parts import build_metric_part
from kinesweep.features import build_features
from kinesweep.models.backbones import get_backbone_ops
from kinesweep.models.encoders import build_encoder
from kinesweep.models.losses.part_loss import PartLoss
from kinesweep.sources import build_source
from kinesweep.testing import SourceContract
from plugin_package import install_package

TEXTS = {"a": "we go", "b": "it rains"}


class EncoderSettings(EncoderPart):
    kind: Literal["odd"] = "odd"
    implementation: ClassVar[str] = f"{__name__}:OddEncoder"
    answer: str = "right"


class OddEncoder(nn.Module):
    def __init__(self, config: EncoderSettings, width: int, out: int) -> None:
        super().__init__()
        self.answer, self.layer = config.answer, nn.Linear(width, out)
        if config.answer == "built":
            raise ZeroDivisionError("no layers")

    def set_statistics(self, mean_D: Tensor, deviation_D: Tensor) -> None: ...

    def forward(self, x_BTD: Tensor, mask_BT: Tensor) -> Any:
        x_BTE = self.layer(x_BTD)
        answers = {"right": (x_BTE, mask_BT), "shorter": (x_BTE[:, ::2], mask_BT[:, ::2])}
        answers |= {"alone": x_BTE, "none": None, "narrow": (x_BTE[..., :2], mask_BT)}
        answers |= {"mask": (x_BTE, mask_BT[:, :1]), "clips": (x_BTE[:1], mask_BT[:1])}
        return answers[self.answer]


@pytest.mark.parametrize("answer", ["alone", "none", "narrow", "mask", "clips", "built"])
def test_an_encoder_of_another_shape_is_refused(installed: None, answer: str) -> None:
    x_BTD, mask_BT = torch.ones(3, 4, 5), torch.ones(3, 4, dtype=torch.bool)
    for good in ("right", "shorter"):
        encoder = build_encoder(EncoderSettings(answer=good), 5, 6)
        assert encoder(x_BTD, mask_BT)[0].shape[2] == 6
        assert list(encoder.state_dict()) == ["layer.weight", "layer.bias"]
    said = "the encoder `odd` must return vectors of"
    if answer == "built":
        said = "the part `odd` .kinesweep.encoders.* cannot be built: ZeroDivisionError: no layers"
    with pytest.raises(InputError, match=said):
        build_encoder(EncoderSettings(answer=answer), 5, 6)(x_BTD, mask_BT)


class LossSettings(LossPart):
    kind: Literal["odd"] = "odd"
    implementation: ClassVar[str] = f"{__name__}:OddLoss"
    answer: str = "right"


class OddLoss(nn.Module):
    def __init__(self, config: LossSettings, smoothing: float) -> None:
        super().__init__()
        self.answer = config.answer
        if config.answer == "built":
            raise ZeroDivisionError("no loss")

    def forward(self, logits_BLV: Tensor, labels_BL: Tensor) -> Tensor:
        loss_B = -logits_BLV.mean(dim=(1, 2))
        return loss_B.detach() if self.answer == "detached" else loss_B


def test_a_loss_without_gradient_is_refused_and_a_negative_one_is_not(installed: None) -> None:
    labels_BL = torch.tensor([[1, 2]])

    def compute(answer: str) -> Tensor:
        logits_BLV = torch.ones(1, 2, 4, requires_grad=True)
        loss = PartLoss(LossSettings(answer=answer), 0.0)
        return loss(torch.tensor(0.0), logits_BLV, labels_BL, labels_BL, None)

    assert compute("right") == -1
    with pytest.raises(InputError, match="the loss `odd` has no gradient"):
        compute("detached")
    with pytest.raises(
        InputError, match=r"the part `odd` .kinesweep.losses.* cannot be built: ZeroDivisionError"
    ):
        compute("built")


def test_an_infinite_cross_entropy_does_not_spoil_the_loss_that_replaces_it(
    installed: None,
) -> None:
    loss = PartLoss(LossSettings(), 0.0)
    labels_BL, infinite = torch.tensor([[1, 2]]), torch.tensor(math.inf)
    logits_BLV = torch.ones(1, 2, 4, requires_grad=True)
    assert loss(infinite, logits_BLV, labels_BL, labels_BL, None) == -1


def test_a_loss_reads_half_precision_as_single(installed: None) -> None:
    loss, seen = PartLoss(LossSettings(), 0.0), []
    loss.implementation.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        logits_BLV = torch.ones(1, 2, 4, dtype=dtype, requires_grad=True)
        loss(torch.tensor(0.0), logits_BLV, torch.tensor([[1, 2]]), torch.tensor([[1, 2]]), None)
    assert seen == [torch.float32, torch.float32, torch.float64]


class MetricSettings(MetricPart):
    kind: Literal["odd"] = "odd"
    implementation: ClassVar[str] = f"{__name__}:OddMetric"
    answer: str = "right"


class OddMetric(ClipMeanMetric):
    def __init__(self, config: MetricSettings, protocol: ScoringProtocol, device: str) -> None:
        super().__init__(config.score_name, protocol)
        self.answer = config.answer

    def format_settings(self) -> str:
        return ""

    def score_pairs(self, pairs: Sequence[Any]) -> Any:
        answers: dict[str, Callable[[], Any]] = {
            "right": lambda: np.full(len(pairs), 2, np.float16),
            "nan": lambda: [math.nan] * len(pairs),
            "short": lambda: [1.0],
            "text": lambda: ["x"] * len(pairs),
            "raises": lambda: [1 / 0],
        }
        return answers[self.answer]()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"metrics": "MetricSettings", "sources": "SourceSettings", "encoders": "Settings"}
    names |= {"losses": "LossSettings", "features": "StepSettings", "backbones": "BackboneSettings"}
    points = {f"kinesweep.{group}": {"odd": name} for group, name in names.items()}
    source = """
        from typing import Any, Literal
        from pydantic import Field
        from kinesweep.config.parts import EncoderPart

        class Settings(EncoderPart):
            kind: Literal["odd"] = "odd"
            function: Any = Field(default_factory=lambda: print)
    """
    install_package(monkeypatch, tmp_path / "site", "odd_parts", source, points)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("nan", "but returned 2, of which 0 are finite"),
        ("short", "but returned 1, of which 1 are finite"),
        ("text", "cannot score 2 pairs of texts: ValueError"),
        ("raises", "cannot score 2 pairs of texts: ZeroDivisionError"),
    ],
)
def test_a_metric_that_fails_is_named(installed: None, answer: str, said: str) -> None:
    references = {clip: [text] for clip, text in TEXTS.items()}
    good = build_metric_part(MetricSettings(), ScoringProtocol(), "cpu")(TEXTS, references)
    assert good == 2 and type(good) is float
    with pytest.raises(InputError, match=f"the part `odd` .kinesweep.metrics.*{said}"):
        build_metric_part(MetricSettings(answer=answer), ScoringProtocol(), "cpu")(
            TEXTS, references
        )


class StepSettings(FeaturesPart):
    kind: Literal["odd"] = "odd"
    implementation: ClassVar[str] = f"{__name__}:make_step"
    answer: str = "object"


def make_step(config: StepSettings) -> Any:
    if config.answer == "refused":
        raise ConfigError("the step", [("features.answer", "is refused")])
    return object()


class BackboneSettings(BackbonePart):
    kind: Literal["odd"] = "odd"
    implementation: ClassVar[str] = f"{__name__}:BareBackbone"


class BareBackbone:
    def create_model(self) -> None: ...


def test_what_lacks_the_methods_of_its_group_is_refused_when_built(installed: None) -> None:
    with pytest.raises(InputError, match=r"the part `odd` .*must give an instance of .*Step`, not"):
        build_features(StepSettings())
    with pytest.raises(InputError, match=r"BareBackbone` has no compute_logits, embed_tokens"):
        get_backbone_ops(BackboneSettings())


def test_an_error_for_users_passes_unchanged_through_the_construction(installed: None) -> None:
    with pytest.raises(ConfigError, match=r"features\.answer +is refused"):
        build_features(StepSettings(answer="refused"))


def test_settings_that_no_run_could_record_are_refused(installed: None) -> None:
    values = {"encoder": {"kind": "odd"}, "backbone": {"kind": "seq2seq"}}
    with pytest.raises(ConfigError, match=r"encoder +has a setting .* cannot be written as JSON"):
        validate_config(ModelConfig, values, "it")


class SetSettings(EncoderPart):
    kind: Literal["odd"] = "odd"
    words: Any = Field(default_factory=lambda: [{"a", "b"}])


class NanSettings(EncoderPart):
    kind: Literal["odd"] = "odd"
    rate: float = math.nan


class DoublingSettings(EncoderPart):
    kind: Literal["odd"] = "odd"
    width: int = 2

    @field_validator("width")
    @classmethod
    def _double(cls, width: int) -> int:
        return 2 * width


class AliasedSettings(EncoderPart):
    kind: Literal["odd"] = "odd"
    width: int = Field(2, alias="size")


class PlainSettings(EncoderPart):
    kind: Literal["odd"] = "odd"
    rates: tuple[float, ...] = (1.0,)
    folder: Path = Path("a/b")
    words: dict[int, str] = Field(default_factory=lambda: {1: "x"})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (SetSettings(), "is a set, whose order changes"),
        (NanSettings(), "infinite or not a number"),
        (DoublingSettings(width=3), "another one when its record is read: `width`"),
        (AliasedSettings(), "cannot be read again"),
        (PlainSettings(), "^$"),
    ],
)
def test_settings_whose_record_is_not_they_are_refused(config: EncoderPart, said: str) -> None:
    assert re.search(said, find_record_problem(config))


def test_a_part_that_prints_or_stops_the_process_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Results on stdout are read by programs."""
    source = """
        from typing import Literal
        from pydantic import model_validator
        from kinesweep.config.parts import EncoderPart
        print("hello")

        class Loud(EncoderPart):
            kind: Literal["loud"] = "loud"

        class Breaking(EncoderPart):
            kind: Literal["breaking"] = "breaking"

            @model_validator(mode="after")
            def _break(self):
                raise RuntimeError("half way")
    """
    points = {"loud": "Loud", "breaking": "Breaking"}
    site = tmp_path / "site"
    install_package(monkeypatch, site, "loud_parts", source, {"kinesweep.encoders": points})
    stopping = "class Stop(BaseException): pass\nraise Stop('no\x1b more')"
    install_package(
        monkeypatch, site, "stop_parts", stopping, {"kinesweep.encoders": {"stop": "Settings"}}
    )
    values = {"encoder": {"kind": "loud"}, "backbone": {"scratch": {"architecture": "m2m_100"}}}
    assert validate_config(ModelConfig, values, "it").encoder.kind == "loud"
    streams = capsys.readouterr()
    assert streams.out == "" and streams.err == "hello\n"
    for kind, said in {"breaking": "RuntimeError: half way", "stop": "Stop: no"}.items():
        with pytest.raises(ConfigError, match=rf"the part `{kind}` .*{said}"):
            validate_config(ModelConfig, {**values, "encoder": {"kind": kind}}, "it")


class SourceSettings(SourcePart):
    kind: Literal["odd"] = "odd"
    implementation: ClassVar[str] = f"{__name__}:OddSource"
    breaks: bool = Field(True)


def make_source(folder: Path, breaks: bool) -> Any:
    from kinesweep.sources.part_source import FileTableSource

    class Odd(FileTableSource):
        def read_clips(self, split: str, path: Path) -> Any:
            yield Clip("a", split, "a.bin", texts=("x",))
            if self.config.breaks:  # type: ignore[attr-defined]
                raise RuntimeError("half way")

        def read_file(self, path: Path, span: Span) -> Any:
            raise IndexError("no frame")

    globals()["OddSource"] = Odd
    (folder / "train.tsv").write_text("x")
    (folder / "a.bin").write_text("x")
    return build_source(SourceSettings(train=str(folder / "train.tsv"), breaks=breaks))


def test_a_source_that_fails_is_named(installed: None, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: RuntimeError: half way"):
        make_source(tmp_path, True).list_clips("train")
    source = make_source(tmp_path, False)
    with pytest.raises(
        ClipError, match=r"`read_file` of `odd` fails on .*IndexError: no"
    ) as caught:
        source.read(source.list_clips("train")[0])
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize(("answer", "passes"), [("whole", False), ("cut", True), ("no", True)])
def test_the_suite_notices_a_source_that_ignores_spans(answer: str, passes: bool) -> None:
    """A bundle would translate the whole file where a part of it was asked for."""

    class Lines:
        def list_clips(self, split: str) -> list[Clip]:
            return [Clip("a", split, "a.npy", texts=("x",))]

        def read(self, clip: Clip) -> np.ndarray:
            if answer == "no" and not clip.span.is_full:
                raise ClipError("has no times", "span")
            end = None if clip.span.end is None or answer != "cut" else int(clip.span.end)
            return np.arange(6)[:end]

    source: Any = Lines()
    with nullcontext() if passes else pytest.raises(AssertionError, match="ignores `span`"):
        SourceContract().test_a_part_of_a_file_is_not_read_as_the_whole(source)
