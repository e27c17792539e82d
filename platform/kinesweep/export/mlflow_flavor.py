"""The MLflow flavor of a bundle, whose folder is a model that `export.pyfunc_model` loads."""

from collections.abc import Iterable
from pathlib import Path

import yaml

from kinesweep.core.io import write_text
from kinesweep.export.raw_file_kinds import TEXT_COLUMN
from kinesweep.version import __version__

MLMODEL = "MLmodel"
REQUIREMENTS = "requirements.txt"
_LOADER_MODULE = "kinesweep.export.pyfunc_model"
# Fields that would make two exports of one run differ.
_VOLATILE_FIELDS = ("utc_time_created", "model_size_bytes")


def write_mlflow_flavor(
    bundle_dir: Path,
    weights_sha256: str,
    file_columns: Iterable[str] = ("pose",),
    feature_columns: Iterable[str] = ("features",),
    requirements: Iterable[str] = (),
) -> None:
    """Write the MLflow files of a bundle, `MLmodel` and `requirements.txt`.

    They contain no times, so that equal bundles get equal files.

    Args:
        bundle_dir: Folder of the bundle.
        weights_sha256: SHA-256 of the weights, from which the model's UUID is derived.
        file_columns: Names of the input columns for bytes of raw files, or for texts.
        feature_columns: Names of the input columns for features, which are frames × numbers.
        requirements: Requirements of parts of other packages, such as `my-encoder==1.0`.
    """
    # Slow to import, and needed only here.
    import mlflow.pyfunc
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
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
    content = {key: value for key, value in model.to_dict().items() if key not in _VOLATILE_FIELDS}
    write_text(bundle_dir / MLMODEL, yaml.safe_dump(content))
    lines = [f"kinesweep=={__version__}", *requirements]
    write_text(bundle_dir / REQUIREMENTS, "".join(f"{line}\n" for line in lines))
