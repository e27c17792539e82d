"""The MLflow flavor of a bundle, whose folder is a model that `export.pyfunc_model` loads.

Its input example is one made-up clip of a few frames of noise: a bundle may be given away, and the
clips that it was trained on may not. The example shows the form of a request, not a motion.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from kinesweep.config.recipe.evaluation import EvaluationConfig
from kinesweep.core.io import write_text
from kinesweep.core.scores import is_lower_better
from kinesweep.core.seeds import create_generator
from kinesweep.export.raw_file_kinds import TEXT_COLUMN
from kinesweep.version import __version__

if TYPE_CHECKING:
    from mlflow.models import EvaluationMetric

MLMODEL = "MLmodel"
REQUIREMENTS = "requirements.txt"
_LOADER_MODULE = "kinesweep.export.pyfunc_model"
# Fields that would make two exports of one run differ.
_VOLATILE_FIELDS = ("utc_time_created", "model_size_bytes")
# Frames of the example, and the numbers of a frame above which there is none: pixels of whole
# images would be megabytes of text.
_EXAMPLE_FRAMES, _MAX_EXAMPLE_WIDTH = 8, 4096


def write_mlflow_flavor(
    bundle_dir: Path,
    weights_sha256: str,
    file_columns: Iterable[str] = ("pose",),
    feature_columns: Iterable[str] = ("features",),
    example_frames: Mapping[str, Sequence[Sequence[float]]] | None = None,
    requirements: Iterable[str] = (),
) -> None:
    """Write the MLflow files of a bundle: `MLmodel`, `requirements.txt` and the input example.

    They contain no times, so that equal bundles get equal files.

    Args:
        bundle_dir: Folder of the bundle.
        weights_sha256: SHA-256 of the weights, from which the model's UUID is derived.
        file_columns: Names of the input columns for bytes of raw files, or for texts.
        feature_columns: Names of the input columns for features, which are frames × numbers.
        example_frames: Input column → features of the example; None or empty: no example.
        requirements: Requirements of parts of other packages, such as `my-encoder==1.0`.
    """
    # Slow to import, and needed only here.
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.models.utils import _save_example
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    # All columns are optional: a row has either the bytes of files or features.
    frames = Array(Array(DataType.double))
    input_schema = Schema(
        [
            *(
                ColSpec(
                    DataType.string if column == TEXT_COLUMN else DataType.binary,
                    column,
                    required=False,
                )
                for column in file_columns
            ),
            *(ColSpec(frames, column, required=False) for column in feature_columns),
        ]
    )
    signature = ModelSignature(input_schema, Schema([ColSpec(DataType.string, "text")]))
    model = Model(model_uuid=weights_sha256[:32], signature=signature)
    mlflow.pyfunc.add_to_model(model, loader_module=_LOADER_MODULE)
    if example_frames:
        # MLflow's own function, so that its tools and servers find and read the files.
        _save_example(model, pd.DataFrame([dict(example_frames)]), str(bundle_dir))
    content = {key: value for key, value in model.to_dict().items() if key not in _VOLATILE_FIELDS}
    write_text(bundle_dir / MLMODEL, yaml.safe_dump(content))
    lines = [f"kinesweep=={__version__}", *requirements]
    write_text(bundle_dir / REQUIREMENTS, "".join(f"{line}\n" for line in lines))


def make_example_frames(
    columns: Mapping[str, str], streams: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[list[float]]]:
    """Make up the features of one clip: zeros for whole numbers, noise for all others.

    Args:
        columns: Stream → input column.
        streams: Stream → its `width` and `dtype`.

    Returns:
        Input column → frames × numbers; empty if a frame has too many numbers.
    """
    if sum(int(schema["width"]) for schema in streams.values()) > _MAX_EXAMPLE_WIDTH:
        return {}
    generator = create_generator(0, "input example")
    frames = {}
    for stream, column in columns.items():
        shape = (_EXAMPLE_FRAMES, int(streams[stream]["width"]))
        # Whole numbers are ids of tokens or pixels, of which 0 always exists.
        is_whole = np.dtype(streams[stream]["dtype"]).kind in "ui"
        noise_TD = np.zeros(shape) if is_whole else generator.normal(size=shape).round(3)
        frames[column] = noise_TD.tolist()
    return frames


def build_mlflow_metrics(bundle_dir: str | Path) -> "list[EvaluationMetric]":
    """Build the metrics of a bundle's recipe for `extra_metrics` of `mlflow.models.evaluate`.

    These are `evaluation.metrics` with the protocol of the recipe, as corpus scores. Neural and
    extra metrics are left out.

    Args:
        bundle_dir: Folder of the bundle.

    Raises:
        BundleError: If the folder is not a bundle or is damaged.
    """
    from mlflow.models import make_metric

    from kinesweep.export.bundle import read_bundle_recipe

    evaluation = read_bundle_recipe(Path(bundle_dir)).evaluation
    return [
        make_metric(
            eval_fn=partial(_compute_mlflow_score, evaluation, name),
            greater_is_better=not is_lower_better(name),
            name=name,
        )
        for name in evaluation.metrics
    ]


def _compute_mlflow_score(
    evaluation: EvaluationConfig,
    name: str,
    predictions: Iterable[str],
    targets: Iterable[str | Sequence[str]],
) -> float:
    """Compute the corpus score of texts against references as MLflow passes them.

    Args:
        evaluation: Section `evaluation` of the recipe.
        name: Name of the metric.
        predictions: Texts of the model.
        targets: Reference of each text, or several of them.
    """
    from kinesweep.evaluation.scoring import compute_scores

    hypotheses = {f"{index:09d}": text for index, text in enumerate(predictions)}
    references = {
        f"{index:09d}": [target] if isinstance(target, str) else list(target)
        for index, target in enumerate(targets)
    }
    protocol = evaluation.protocol_config
    return compute_scores(hypotheses, references, [name], protocol, evaluation.wordnet).values[name]
