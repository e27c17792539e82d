"""Estimators that a section of a recipe or a file configures, as specifications for workers."""

from pathlib import Path
from typing import Any

from kinesweep.config.loading import read_yaml, validate_config
from kinesweep.config.recipe.sources.estimators import (
    ESTIMATOR_PATH_KEYS,
    CommandEstimatorConfig,
    ConfiguredEstimator,
    EstimatorFile,
    JointEstimatorConfig,
    PluginEstimatorConfig,
    RtmposeEstimatorConfig,
    compute_files_digest,
    list_identity_files,
)
from kinesweep.core.errors import InputError
from kinesweep.features.estimators import EstimatorSpec, find_estimator
from kinesweep.features.estimators.rtmpose import RTMPOSE_REQUIREMENTS

# Kind → module below `features.estimators` and its class. The module is not imported here.
_CLASSES = {
    "hybrik": ("smpl.hybrik", "Hybrik"),
    "rtmpose": ("rtmpose", "Rtmpose"),
    "python": ("smpl.python_joints", "PythonJoints"),
    "command": ("smpl.command_joints", "CommandJoints"),
}
_CODE_VERSIONS = {"hybrik": "1", "rtmpose": "1", "python": "1", "command": "1"}
# Settings that say where an estimator runs, not what it estimates.
_ENVIRONMENT_KEYS = {"kind", "python", "requirements", "gpus", "sha256"}


def read_estimator_file(path: Path) -> JointEstimatorConfig:
    """Read the file of an estimator: a section `estimator` of a recipe's source, alone.

    Raises:
        ConfigError: If the file cannot be read or is invalid.
    """
    values = read_yaml(path)
    # With or without the key, so that a section can be copied as it is.
    section = values.get("estimator", values)
    return validate_config(EstimatorFile, {"estimator": section}, str(path)).estimator


def find_named_estimator(name: str) -> EstimatorSpec:
    """Find an estimator by its name, or by the path of its file if that ends in `.yaml`.

    Raises:
        ConfigError: If the file cannot be read or is invalid.
        InputError: If there is no such estimator, or it lacks a file.
    """
    if name.endswith((".yaml", ".yml")):
        return build_estimator_spec(read_estimator_file(Path(name)))
    return find_estimator(name)


def build_estimator_spec(config: JointEstimatorConfig) -> EstimatorSpec:
    """Build the specification of a configured estimator.

    Raises:
        InputError: If a file of the estimator does not exist, or there is no such plug-in.
    """
    if isinstance(config, PluginEstimatorConfig):
        return find_estimator(config.name)
    for path in list_identity_files(config):
        # Reported here by its name; in a worker it would be a traceback of the library.
        if not path.is_file():
            raise InputError(
                f"the estimator of kind {config.kind} needs `{path}`, which does not exist"
            )
    return _build_spec(config, compute_files_digest(config))


def compute_estimator_fingerprint(config: JointEstimatorConfig) -> str:
    """Compute the fingerprint of an estimator of a bundle, whose files need not be on this machine.

    The content of its files is known from `sha256`, which was set when the run started.

    Raises:
        InputError: If there is no such plug-in.
    """
    if isinstance(config, PluginEstimatorConfig):
        return find_estimator(config.name).fingerprint
    return _build_spec(config, config.sha256).fingerprint


def _build_spec(config: ConfiguredEstimator, digest: str | None) -> EstimatorSpec:
    """Build the specification of an estimator.

    Args:
        config: Estimator with settings.
        digest: Hash of the files that determine its joints; None if there are none.
    """
    # The version has a place of its own in the fingerprint.
    settings = config.model_dump(mode="json", exclude=_ENVIRONMENT_KEYS | {"version"})
    identity_settings = {
        key: value for key, value in settings.items() if key not in ESTIMATOR_PATH_KEYS
    }
    # Left out with its default, so that poses of earlier versions stay valid.
    if identity_settings.get("min_score") == 0:
        del identity_settings["min_score"]
    if isinstance(config, CommandEstimatorConfig):
        # Folders differ between machines.
        identity_settings["command"] = [Path(item).name for item in config.command]
    module, class_name = _CLASSES[config.kind]
    return EstimatorSpec(
        config.kind,
        f"kinesweep.features.estimators.{module}",
        class_name,
        str(Path(__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")),
        _get_version(config),
        _get_requirements(config),
        settings=_make_paths_absolute(settings),
        identity={"settings": identity_settings, "sha256": digest},
        python=_make_program_absolute(config.python),
        gpus=config.gpus,
    )


def _make_paths_absolute(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings whose paths are absolute, because workers have another working directory.

    HybrIK's configuration and weights stay relative to its folder.
    """
    keys = [key for key in ("folder", "detector", "pose", "file") if settings.get(key)]
    return settings | {key: str(Path(settings[key]).absolute()) for key in keys}


def _make_program_absolute(program: str | None) -> str | None:
    """Return the absolute path of an interpreter; a name alone is searched for on each machine."""
    if program is None or Path(program).name == program:
        return program
    # Not resolved: the link in the folder of an environment is what selects the environment.
    return str(Path(program).absolute())


def _get_requirements(config: ConfiguredEstimator) -> tuple[str, ...]:
    """Return the packages that an estimator's environment needs; none if it has a `python`."""
    if isinstance(config, RtmposeEstimatorConfig) and config.python is None:
        return config.requirements or RTMPOSE_REQUIREMENTS
    return config.requirements


def _get_version(config: ConfiguredEstimator) -> str:
    """Return the version of an estimator: that of its code here, and the user's own."""
    own_version = getattr(config, "version", None)
    code_version = f"{config.kind}-{_CODE_VERSIONS[config.kind]}"
    return code_version if own_version is None else f"{code_version}+{own_version}"
