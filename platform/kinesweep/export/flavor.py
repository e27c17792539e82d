"""Makes a bundle's folder an MLflow model as well; `served` is what answers."""

from collections.abc import Iterable
from pathlib import Path

import yaml

from kinesweep import __version__
from kinesweep.training.files import write_text

MLMODEL = "MLmodel"
REQUIREMENTS = "requirements.txt"
_LOADER = "kinesweep.export.served"
_OF_THE_DAY = ("utc_time_created", "model_size_bytes")
"""What would make two exports of one run differ."""


def write_flavor(
    folder: Path,
    weights_sha256: str,
    files: Iterable[str] = ("pose",),
    features: Iterable[str] = ("features",),
) -> None:
    """Makes a bundle's folder an MLflow model; equal bundles get equal files.

    Args:
        folder: the bundle.
        weights_sha256: names the model.
        files: what columns of raw files are called.
        features: what those of features are called.
    """
    import mlflow.pyfunc
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    frames = Array(Array(DataType.double))
    inputs = Schema(
        [
            *(ColSpec(DataType.binary, file, required=False) for file in files),
            *(ColSpec(frames, column, required=False) for column in features),
        ]
    )
    signature = ModelSignature(inputs, Schema([ColSpec(DataType.string, "text")]))
    model = Model(model_uuid=weights_sha256[:32], signature=signature)
    mlflow.pyfunc.add_to_model(model, loader_module=_LOADER)
    plain = {key: value for key, value in model.to_dict().items() if key not in _OF_THE_DAY}
    write_text(folder / MLMODEL, yaml.safe_dump(plain))
    (folder / REQUIREMENTS).write_text(f"kinesweep=={__version__}\n", encoding="utf-8")
