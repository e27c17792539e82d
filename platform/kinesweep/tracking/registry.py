"""The model registry: each sweep's winner becomes a model version; one has the alias `champion`.

The decision which version is better is made elsewhere. The data for a later comparison (the
winner's texts for each seed) is stored among the artifacts of the sweep's parent run, beside
the bundle, so a champion can be compared even after the folder of its sweep was deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.core.errors import TrackingError
from kinesweep.tracking.mlflow_client import (
    MlflowServerClient,
    RequestRejectedError,
    ServerUnavailableError,
)

CHAMPION_ALIAS = "champion"
BUNDLE_DIR, PREDICTIONS_DIR = "bundle", "winner"
_MAX_DECISIONS = 30
"""Decisions shown on the page of a model; older ones are dropped."""


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model.

    Attributes:
        number: Version number assigned by MLflow.
        run_id: Id of the sweep's parent run, which holds the files of the version.
        tags: Tags of the version.
        reason: Reason of the decision on the version; empty if it was never decided.
    """

    number: str
    run_id: str
    tags: Mapping[str, str]
    reason: str = ""


class ModelRegistry:
    """A client for the registered models of one MLflow server.

    Args:
        uri: Address of the server.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client = MlflowServerClient(uri)

    def get_champion(self, name: str) -> ModelVersion | None:
        """Return the version of a model that has the alias `champion`.

        Args:
            name: Name of the model.

        Returns:
            The version; None if the model does not exist or has no champion, or if the server
            rejects the name.

        Raises:
            TrackingError: If the server does not answer.
        """
        try:
            return self._convert_version(
                self._client.call_client("get_model_version_by_alias", name, CHAMPION_ALIAS)
            )
        except RequestRejectedError:
            return None
        except ServerUnavailableError as error:
            raise self._create_request_error(error) from None

    def download_predictions(self, version: ModelVersion, folder: Path) -> Path:
        """Download the predictions of all seeds of a model version.

        Args:
            version: Version of a model.
            folder: Existing folder to download to.

        Returns:
            Folder that contains the predictions, below `folder`.

        Raises:
            TrackingError: If the server does not answer or rejects the request.
        """
        return Path(
            self._call_client("download_artifacts", version.run_id, PREDICTIONS_DIR, str(folder))
        )

    def find_version_by_tag(self, name: str, tag: str, value: str) -> ModelVersion | None:
        """Find the version of a model whose tag has a given value.

        Args:
            name: Name of the model.
            tag: Name of the tag.
            value: Value of the tag.

        Returns:
            The first such version in the order of the server; None if there is none.

        Raises:
            TrackingError: If the server does not answer or rejects the request.
        """
        mlflow_versions = self._call_client("search_model_versions", f"name = '{name}'")
        versions = [self._convert_version(version) for version in mlflow_versions]
        return next((version for version in versions if version.tags.get(tag) == value), None)

    def register_version(
        self, name: str, run_id: str, bundle: Path, tags: Mapping[str, str]
    ) -> ModelVersion:
        """Store a bundle among a run's artifacts and register it as the newest version of a model.

        Args:
            name: Name of the model; created if missing.
            run_id: Id of the sweep's parent run.
            bundle: Folder of the bundle.
            tags: Tags of the version.

        Returns:
            The new version.

        Raises:
            TrackingError: If the server does not answer or rejects the request.
        """
        try:
            self._client.call_client("create_registered_model", name)
        except RequestRejectedError:
            pass  # the model exists already
        except ServerUnavailableError as error:
            raise self._create_request_error(error) from None
        self._call_client("log_artifacts", run_id, str(bundle), BUNDLE_DIR)
        # The upload precedes the version, so no version refers to missing files.
        source = f"{self._call_client('get_run', run_id).info.artifact_uri}/{BUNDLE_DIR}"
        return self._convert_version(
            self._call_client(
                "create_model_version", name, source, run_id, dict(tags), await_creation_for=0
            )
        )

    def upload_predictions(self, run_id: str, folder: Path) -> None:
        """Upload a folder of predictions to a run's artifacts, for `download_predictions`.

        Args:
            run_id: Id of the sweep's parent run.
            folder: Folder with the predictions of all seeds.

        Raises:
            TrackingError: If the server does not answer or rejects the request.
        """
        self._call_client("log_artifacts", run_id, str(folder), PREDICTIONS_DIR)

    def record_decision(
        self, name: str, version: ModelVersion, is_champion: bool, reason: str
    ) -> None:
        """Record whether a version becomes the champion, and the reason, in the registry.

        If it does, it gets the alias `champion`. The reason is written to the descriptions of the
        version and of the model.

        Args:
            name: Name of the model.
            version: Version that was compared with the champion.
            is_champion: Whether the version becomes the champion.
            reason: Reason for the decision.

        Raises:
            TrackingError: If the server does not answer or rejects a request.
        """
        # The alias is what `get_champion` reads; the descriptions below only report it.
        if is_champion:
            self._call_client("set_registered_model_alias", name, CHAMPION_ALIAS, version.number)
        self._call_client("update_model_version", name, version.number, reason)
        # The description of a model lists the decisions, the newest first, one on each line.
        description = self._call_client("get_registered_model", name).description or ""
        previous_decisions = [line for line in description.split("\n") if line]
        decision = (
            f"- **Version {version.number}** {'is' if is_champion else 'is not'} champion: {reason}"
        )
        decisions = [decision, *previous_decisions][:_MAX_DECISIONS]
        self._call_client("update_registered_model", name, "\n".join(decisions))

    def _call_client(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of MLflow's client and return its result.

        Raises:
            TrackingError: If the call fails for any reason.
        """
        try:
            return self._client.call_client(method, *args, **kwargs)
        except (ServerUnavailableError, RequestRejectedError) as error:
            raise self._create_request_error(error) from None

    def _create_request_error(self, error: Exception) -> TrackingError:
        """Create the error that reports a failed request to the user."""
        return TrackingError(f"the request to the registry at {self._uri} failed: {error}")

    def _convert_version(self, mlflow_version: Any) -> ModelVersion:
        """Convert MLflow's model version to a `ModelVersion`."""
        return ModelVersion(
            str(mlflow_version.version),
            str(mlflow_version.run_id),
            dict(mlflow_version.tags),
            mlflow_version.description or "",
        )
