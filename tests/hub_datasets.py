"""Data sets of the library `datasets`, and the corpora that preparations make of them."""

import csv
from pathlib import Path
from typing import Any

import datasets

from kinesweep.config.recipe.source import PoseTsvConfig
from kinesweep.core.clip import Clip
from kinesweep.pipelines.corpus_preparation import prepare_from_hub
from kinesweep.sources.pose_format.pose_tsv import PoseTsvSource
from kinesweep.sources.prepare.hub.hub_preparation import HubSettings
from kinesweep.sources.prepare.preparation_result import PreparationResult

datasets.disable_progress_bars()


def rows_of(sample: Path, split: str) -> list[dict[str, Any]]:
    """The sample corpus as rows with bytes of pose files."""
    with (sample / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
        return [
            {
                "id": Path(row["signal"]).stem,
                "pose": (sample / row["signal"]).read_bytes(),
                "text": row["output"],
                "signer": row["signer"],
                "gloss": row["gloss"],
                "document": row["document"],
            }
            for row in csv.DictReader(file, delimiter="\t")
        ]


def prepare(name: Path, out: Path, **settings: Any) -> PreparationResult:
    rest = {key: settings.pop(key) for key in ("prompts", "overwrite") if key in settings}
    return prepare_from_hub(str(name), out, HubSettings(**settings), **rest)


def save(folder: Path, rows: list[dict[str, Any]], **features: Any) -> Path:
    """One split, saved with `save_to_disk`."""
    dataset = datasets.Dataset.from_list(rows)
    for name, feature in features.items():
        dataset = dataset.cast_column(name, feature)
    dataset.save_to_disk(folder)
    return folder


def clips(out: Path, split: str = "train") -> list[Clip]:
    config = PoseTsvConfig.model_validate({split: str(out / f"{split}.tsv")})
    return PoseTsvSource(config).list_clips(split)


def table(out: Path) -> list[dict[str, str]]:
    with (out / "train.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))
