"""COMET: a model that predicts the quality of a translation from source, translation and reference.

Its package needs older versions of transformers and numpy than Kinesweep, so it runs as a
subprocess in an environment of its own, which shares torch with this one. Creating it takes half a
minute; loading a model of 2 GB takes about 20 s at each evaluation. A checkpoint is a pickle, which
can contain code: name only models that you trust.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from kinesweep.config.recipe.evaluation import ScoringProtocol
from kinesweep.config.recipe.metrics import CometConfig
from kinesweep.core.errors import InputError
from kinesweep.core.system.child_environment import build_child_environment
from kinesweep.evaluation.metrics import comet_worker
from kinesweep.evaluation.metrics.base import ClipMeanMetric, TextPair
from kinesweep.evaluation.metrics.source_texts import check_source_texts
from kinesweep.features.estimators.virtualenv import get_environment_python

# setuptools: an old torchmetrics imports `pkg_resources`, which later versions do not have.
COMET_REQUIREMENTS = ("unbabel-comet==2.2.7", "setuptools<81")
_KEY = "neural_metrics.comet"
# Lightning would take part in the distributed job or the SLURM job that this process belongs to.
_JOB_VARIABLES = ("SLURM_", "TORCHELASTIC_", "MASTER_", "WORLD_SIZE", "RANK", "LOCAL_", "GROUP_")


class Comet(ClipMeanMetric):
    """COMET, reported as the mean times 100; an empty hypothesis scores 0.

    Args:
        config: Model and batch size.
        protocol: Normalization of hypotheses and references; source texts stay unchanged.
        device: Device for the model.
        sources: Clip id → source text.
    """

    def __init__(
        self,
        config: CometConfig,
        protocol: ScoringProtocol,
        device: torch.device | str,
        sources: Mapping[str, str],
    ) -> None:
        super().__init__("comet", protocol)
        self._config = config
        self._device = torch.device(device)
        self._sources = sources
        # An assumption until the first scores: only the loaded model tells.
        self._reads_references = True

    def format_settings(self) -> str:
        """Format the model, the source texts and the version of the package."""
        references = "yes" if self._reads_references else "no"
        return (
            f"model:{Path(self._config.model).name}|source:{self._config.source}"
            f"|references:{references}|version:{COMET_REQUIREMENTS[0].rpartition('=')[2]}"
        )

    def find_source_texts(self, clip_ids: Sequence[str]) -> Mapping[str, str]:
        """Return clip id → source text.

        Raises:
            InputError: If a clip has no source text.
        """
        check_source_texts(self._config, clip_ids, self._sources)
        return self._sources

    def score_pairs(self, pairs: Sequence[TextPair]) -> list[float]:
        """Compute the score of each pair in a subprocess, usually 0 to 100.

        Raises:
            InputError: If the model cannot be read or the subprocess fails.
            ResourceError: If the environment of the package cannot be created.
        """
        request = {
            "model": self._config.model,
            "batch_size": self._config.batch_size,
            "device": (self._device.index or 0) if self._device.type == "cuda" else None,
            "samples": [
                {"src": pair.source, "mt": pair.hypothesis, "ref": pair.reference} for pair in pairs
            ],
        }
        answer = _run_worker(request)
        if "error" in answer:
            raise InputError(
                f"`evaluation.{_KEY}.model` is `{self._config.model}`, which cannot be used:"
                f" {' '.join(str(answer['error']).split())[:300]}"
            )
        self._reads_references = bool(answer["references"])
        return [100 * float(score) for score in answer["scores"]]


def _run_worker(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run the worker in the environment of the package and return its answer.

    Raises:
        InputError: If the subprocess ends without an answer.
        ResourceError: If the environment cannot be created.
    """
    python = get_environment_python("comet", COMET_REQUIREMENTS, base=(), shares_packages=True)
    env = build_child_environment(_JOB_VARIABLES)
    # Files instead of pipes, because the libraries print to standard output.
    with tempfile.TemporaryDirectory() as folder:
        request_path, answer_path = Path(folder) / "request.json", Path(folder) / "answer.json"
        request_path.write_text(json.dumps(request), encoding="utf-8")
        # Without -P, modules beside the script would shadow installed ones, such as `comet` itself.
        command = [str(python), "-P", comet_worker.__file__, str(request_path), str(answer_path)]
        result = subprocess.run(
            command, env=env, cwd=folder, capture_output=True, text=True, check=False
        )
        # The exit code does not tell: the worker also exits with 0 after it reported an error.
        if not answer_path.is_file():
            lines = result.stderr.strip().splitlines() or ["no output"]
            raise InputError(
                f"the subprocess of COMET crashed (exit code {result.returncode}):"
                f" {lines[-1][:300]}"
            )
        answer: dict[str, Any] = json.loads(answer_path.read_text(encoding="utf-8"))
    return answer
