"""Recipe section `source.estimator`: what estimates 3-D joints of SMPL from videos.

An estimator runs code of somebody else: HybrIK, a function or a command of the user, or an
installed package. Its section is also a file of its own for `kinesweep estimate-poses --estimator
FILE` and `kinesweep translate --estimator FILE`. Paths do not take part in its identity, but the
content of the files does (`sha256`), so an estimator that was moved is still the same one.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from kinesweep.config.loading import StrictConfig
from kinesweep.core.checkpoint_files import compute_cached_sha256
from kinesweep.core.hashing import compute_fingerprint

ESTIMATOR_PATH_KEYS = ("folder", "config", "checkpoint", "detector", "pose", "file", "python")
"""Keys of estimators whose values are paths of files or folders."""


class EstimatorEnvironmentConfig(StrictConfig):
    """Settings that all estimators share: what they run in."""

    python: str | None = Field(
        None,
        description="Python interpreter of the environment that the estimator runs in, with PyAV"
        " and pose-format; default: an environment with `requirements`.",
    )
    requirements: tuple[str, ...] = Field(
        (),
        description="Pinned packages that pip installs once into an environment of the estimator's"
        " own; default: it runs in the environment of Kinesweep.",
    )
    gpus: float = Field(0, ge=0, description="GPUs per process that estimates; 0: on the CPU.")
    sha256: str | None = Field(
        None, description="Hash of the files that determine the joints; set when a run starts."
    )

    @model_validator(mode="after")
    def _check_one_environment(self) -> "EstimatorEnvironmentConfig":
        """Check that the environment is either given or created, not both."""
        # Packages are never installed into an environment that somebody else owns.
        if self.python is not None and self.requirements:
            raise ValueError(
                "`python` names an environment that exists and `requirements` one that is created;"
                " set one of them"
            )
        return self


class HybrikEstimatorConfig(EstimatorEnvironmentConfig):
    """HybrIK: joints of SMPL in three dimensions from each frame of a video."""

    kind: Literal["hybrik"] = Field("hybrik", description="Kind of estimator.")
    folder: str = Field(
        description="Folder of HybrIK's repository, with `hybrik/` and `model_files/`."
    )
    config: str = Field(
        "configs/256x192_adam_lr1e-3-hrw48_cam_2x_w_pw3d_3dhp.yaml",
        description="HybrIK's configuration; relative paths start from `folder`.",
    )
    checkpoint: str = Field(
        "pretrained_models/hybrik_hrnet.pth",
        description="HybrIK's weights; relative paths start from `folder`.",
    )
    detector: str | None = Field(
        None,
        description="Weights of torchvision's `fasterrcnn_resnet50_fpn`, which finds people;"
        " default: those that torchvision downloads.",
    )
    detector_threshold: float = Field(
        0.9, ge=0, le=1, description="Least score of a person who was not followed before."
    )
    people: int = Field(1, ge=1, le=16, description="Largest number of people that are followed.")
    joints: Literal["struct", "regressed"] = Field(
        "struct",
        description="`struct`: joints of the fitted SMPL body (`pred_xyz_24_struct`); `regressed`:"
        " joints before the fit (`pred_xyz_29`).",
    )
    position: Literal["camera", "root"] = Field(
        "camera",
        description="Origin of the joints: `camera`, which keeps the steps of a person, for a focal"
        " length of 1000 pixels; `root`, the pelvis in each frame, as in CoachMe's data.",
    )
    unit: Literal["m", "hybrik"] = Field(
        "m",
        description="Unit of the joints: meters, or `hybrik`, the depth of its box (2.2 meters), as"
        " in its output files and in CoachMe's data.",
    )
    flip_test: bool = Field(
        True, description="Average with the estimate of the mirrored image, as HybrIK's demo does."
    )


class RtmposeEstimatorConfig(EstimatorEnvironmentConfig):
    """RTMPose: the 133 points of COCO-WholeBody in `.pose` files, from ONNX models."""

    kind: Literal["rtmpose"] = Field(description="Kind of estimator.")
    detector: str | None = Field(
        None, description="ONNX file of YOLOX, which finds people; default: it is downloaded."
    )
    pose: str | None = Field(
        None,
        description="ONNX file of RTMPose or RTMW with 133 points; default: it is downloaded.",
    )
    mode: Literal["lightweight", "balanced", "performance"] = Field(
        "balanced", description="Models of rtmlib that are downloaded for files that are not given."
    )
    device: Literal["cpu", "cuda"] = Field(
        "cpu",
        description="Device of the models. `cuda` needs `gpus: 1` and `requirements` with"
        " `onnxruntime-gpu`, or a `python` that has it.",
    )
    people: int = Field(1, ge=1, le=16, description="Largest number of people that are followed.")
    min_score: float = Field(
        0,
        ge=0,
        le=1,
        description="Points with at most this score are missing. Features see all others; a set"
        " such as `uni_sign_69` has a threshold of its own.",
    )


class PythonEstimatorConfig(EstimatorEnvironmentConfig):
    """A function of the user that returns the joints of a video."""

    kind: Literal["python"] = Field(description="Kind of estimator.")
    file: str | None = Field(None, description="Python file with the function.")
    module: str | None = Field(None, description="Module with the function, instead of `file`.")
    function: str = Field(
        "estimate",
        pattern=r"^[A-Za-z_]\w*$",
        description="Function `(frames, fps, width, height) -> joints`, or a class whose objects"
        " are called so. Joints are (T, J, 3) or (T, P, J, 3) with 22, 24 or 29 joints of SMPL, NaN"
        " where a joint or a person was not found.",
    )
    arguments: dict[str, str | int | float | bool | None] = Field(
        {}, description="Keyword arguments of the class, or of each call of the function."
    )
    version: str = Field(
        description="Version of everything that affects the joints; another one estimates again."
    )

    @model_validator(mode="after")
    def _check_location(self) -> "PythonEstimatorConfig":
        """Check that the function is in a file or in a module."""
        # Neither and both are equally ambiguous.
        if (self.file is None) == (self.module is None):
            raise ValueError("set either `file` or `module`, which contains the function")
        return self


class CommandEstimatorConfig(EstimatorEnvironmentConfig):
    """A command of the user that writes the joints of a video to a file."""

    kind: Literal["command"] = Field(description="Kind of estimator.")
    command: tuple[str, ...] = Field(
        min_length=1,
        description="Program and arguments, without a shell. `{video}` stands for the video,"
        " `{output}` for the `.npy` or `.npz` to write: joints as a function of kind `python`"
        " returns them, or HybrIK's arrays. `{fps}`, `{width}` and `{height}` are numbers.",
    )
    output_suffix: Literal[".npy", ".npz"] = Field(
        ".npz", description="Suffix of the file that the command writes."
    )
    timeout_s: float = Field(3600, gt=0, description="Seconds after which the command is stopped.")
    version: str = Field(
        description="Version of everything that affects the joints; another one estimates again."
    )

    @model_validator(mode="after")
    def _check_places(self) -> "CommandEstimatorConfig":
        """Check that the command is told which video to read and which file to write."""
        # A placeholder may be part of an argument, such as `--video={video}`.
        missing = [name for name in ("{video}", "{output}") if name not in " ".join(self.command)]
        if missing:
            raise ValueError(f"`command` lacks {' and '.join(missing)}")
        return self


class PluginEstimatorConfig(StrictConfig):
    """An estimator of an installed package, or one of those built in."""

    kind: Literal["plugin"] = Field(description="Kind of estimator.")
    name: str = Field(
        pattern=r"^[\w.-]+$",
        description="Name of the estimator, as for `kinesweep estimate-poses --estimator`.",
    )


ConfiguredEstimator = (
    HybrikEstimatorConfig | RtmposeEstimatorConfig | PythonEstimatorConfig | CommandEstimatorConfig
)
"""Estimators with settings of their own; a plug-in has none."""
JointEstimatorConfig = ConfiguredEstimator | PluginEstimatorConfig
AnyJointEstimator = Annotated[JointEstimatorConfig, Field(discriminator="kind")]


class EstimatorFile(StrictConfig):
    """A file with the section `estimator` of a recipe's source."""

    estimator: AnyJointEstimator = Field(description="Estimator of joints.")


def list_identity_files(config: ConfiguredEstimator) -> list[Path]:
    """List the files that determine the joints of an estimator.

    They are HybrIK's configuration, its weights and those of the detector, or the file with a
    function; a module and a command have none, so their `version` speaks for them.
    """
    if isinstance(config, HybrikEstimatorConfig):
        # An absolute path replaces the folder in a join, so both kinds of paths work.
        folder = Path(config.folder)
        detector = [Path(config.detector)] if config.detector else []
        return [folder / config.config, folder / config.checkpoint, *detector]
    if isinstance(config, RtmposeEstimatorConfig):
        return [Path(path) for path in (config.detector, config.pose) if path]
    if isinstance(config, PythonEstimatorConfig) and config.file:
        return [Path(config.file)]
    return []


def compute_files_digest(config: ConfiguredEstimator) -> str | None:
    """Compute the hash of the files that determine the joints of an estimator.

    Returns:
        The hash; `sha256` if one of the files is not on this machine; None if there are no files.
    """
    paths = list_identity_files(config)
    # A recipe must stay readable on machines that only train, where the estimator is not installed.
    if not all(path.is_file() for path in paths):
        return config.sha256
    return compute_fingerprint([compute_cached_sha256(path) for path in paths]) if paths else None


def set_files_digest(section: dict[str, Any]) -> None:
    """Set `sha256` in the plain values of an estimator whose files are on this machine."""
    if section["kind"] != "plugin":
        # Defaults of the section name files too, and only validation fills them in.
        config = EstimatorFile.model_validate({"estimator": section}).estimator
        section["sha256"] = compute_files_digest(config)  # type: ignore[arg-type]
