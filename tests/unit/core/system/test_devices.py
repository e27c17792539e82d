"""The choice of a device: the words, and what this process can use."""

import pickle
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from kinesweep.cli import app
from kinesweep.core.errors import InputError, ResourceError
from kinesweep.core.system.devices import check_device_name, select_device
from kinesweep.core.system.kernels import configure_kernels
from kinesweep.training.reproducibility.determinism import configure_determinism
from kinesweep.training.reproducibility.inference_device import prepare_inference


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A function that gives this process a number of GPUs, by name alone."""

    def have(number: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)

    return have


@pytest.mark.parametrize(
    ("name", "number", "device"),
    [
        *[("auto", 0, "cpu"), ("auto", 2, "cuda"), ("cpu", 2, "cpu"), ("cpu", 0, "cpu")],
        *[("cuda", 1, "cuda"), ("cuda:0", 1, "cuda:0"), ("cuda:1", 2, "cuda:1")],
    ],
)
def test_the_device_of_a_name(gpus, name: str, number: int, device: str) -> None:  # type: ignore[no-untyped-def]
    gpus(number)
    assert select_device(name) == torch.device(device)


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        (
            "cuda",
            0,
            "`--device` is `cuda`, but this process sees no CUDA device; use `--device cpu",
        ),
        ("cuda:0", 0, "sees no CUDA device"),
        ("cuda:2", 2, "sees only the indices 0 to 1 of CUDA devices"),
    ],
)
def test_a_gpu_that_is_not_there(gpus, name: str, number: int, said: str) -> None:  # type: ignore[no-untyped-def]
    gpus(number)
    with pytest.raises(ResourceError, match=said) as caught:
        select_device(name)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


WRONG = ["", "gpu", "CPU", "cuda:", "cuda:-1", "cuda:1.5", "cuda:01", "cpu:0", "cuda:1\n", " cpu"]


@pytest.mark.parametrize("name", WRONG)
def test_other_words_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="must be auto, cpu, cuda or cuda:N, but is"):
        check_device_name(name)
    with pytest.raises(InputError):
        select_device(name)


COMMANDS = [
    *[("translate", "nowhere"), ("evaluate", "nowhere"), ("serve", "nowhere")],
    ("embed", "nowhere", "x.pose", "--out", "there"),
    ("attention", "nowhere", "x.pose", "--out", "page.html"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=[words[0] for words in COMMANDS])
def test_commands_refuse_other_words_first(words: tuple[str, ...]) -> None:
    """Before they look for the bundle, which does not exist, or import PyTorch."""
    told = CliRunner().invoke(app, [*words, "--device", "gpu"])
    assert told.exit_code == 2 and "Traceback" not in told.output
    assert "must be auto, cpu, cuda or cuda:N" in " ".join(told.output.split())


def test_replicas_have_no_gpu_of_their_own_choice() -> None:
    told = CliRunner().invoke(app, ["serve", "nowhere", "--device", "cuda:1"])
    assert told.exit_code == 2
    assert "CUDA_VISIBLE_DEVICES" in told.output


def test_inference_says_its_device_and_leaves_the_cpu_as_it_was(
    gpus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:  # type: ignore[no-untyped-def]
    calls: list[object] = []
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    name = "kinesweep.training.reproducibility.inference_device.configure_kernels"
    monkeypatch.setattr(name, lambda **changes: calls.append(changes))
    caplog.set_level("INFO", "kinesweep")
    gpus(2)
    assert prepare_inference("cpu").type == "cpu" and calls == []
    assert prepare_inference() == torch.device("cuda")
    assert prepare_inference("cuda:1") == torch.device("cuda:1")
    assert calls == [{"warn_only": True}, {"warn_only": True}, torch.device("cuda:1")]
    assert caplog.messages == ["device: cpu", "device: cuda", "device: cuda:1"]


def _get_switches() -> tuple[object, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        # The newer names say the same, so that libraries may read either.
        torch.backends.cuda.matmul.fp32_precision == "tf32",
        torch.backends.cudnn.conv.fp32_precision == "tf32",  # type: ignore[attr-defined]
        torch.get_float32_matmul_precision() == "high",
    )


def test_all_switches_are_set_each_time() -> None:
    """A worker trains run after run; what one of them switched on must not reach the next."""
    configure_determinism(1, torch.get_num_threads(), 0)
    default = _get_switches()
    assert default == (True, *[False] * 7)
    configure_kernels(deterministic=False, tf32=True, warn_only=True)
    assert _get_switches() == (False, *[True] * 7)
    configure_determinism(1, torch.get_num_threads(), 0)
    assert _get_switches() == default


def test_a_gpu_for_training_names_its_key(gpus) -> None:  # type: ignore[no-untyped-def]
    gpus(0)
    said = "`resources.gpus` is 0.5, but this process sees no CUDA device; set it to 0 to train"
    with pytest.raises(ResourceError, match=said):
        configure_determinism(1, 1, 0.5)


def test_no_module_of_devices_imports_torch_before_it_is_needed() -> None:
    source = Path(check_device_name.__code__.co_filename).read_text()
    lines = [
        line for line in source.splitlines() if line.startswith(("import torch", "from torch"))
    ]
    assert lines == []
