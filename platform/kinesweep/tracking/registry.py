"""The model registry: each sweep's winner becomes a model version, and one is the `champion`.

The decision which version is better is made elsewhere. The data for a later comparison (the
winner's texts for each seed) is stored among the artifacts of the sweep's own run, beside the
bundle, so a champion can be compared even after the folder of its sweep was deleted.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.core.errors import TrackingError
from kinesweep.tracking.mlflow_client import RequestRejectedError, ServerUnavailableError, Wire

CHAMPION = "champion"
BUNDLE, TEXTS = "bundle", "winner"
_MOST_LINES = 30
"""Decisions shown on the page of a model; older ones are dropped."""


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        number: Version number assigned by MLflow.
        run_id: Id of the sweep's own run, which holds the files of the version.
        tags: Tags of the version.
    """

    number: str
    run_id: str
    tags: Mapping[str, str]


def model_name(text: str) -> str:
    """Return a valid model name; characters that MLflow does not allow become `-`."""
    return re.sub(r"[^\w. -]", "-", text).strip() or "model"


class Registry:
    """A client for the registered models of one MLflow server.

    Args:
        uri: Address of the server.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._wire = Wire(uri)

    def champion(self, name: str) -> Version | None:
        """Return the version with the alias `champion`, or None.

        Raises:
            TrackingError: If the server does not answer.
        """
        try:
            return self._version(self._wire.call("get_model_version_by_alias", name, CHAMPION))
        except RequestRejectedError:
            return None
        except ServerUnavailableError as error:
            raise self._away(error) from None

    def texts(self, version: Version, folder: Path) -> Path:
        """Download the predictions of all seeds of a model version.

        Args:
            version: Version of a model.
            folder: Folder to download to.

        Returns:
            Folder that contains the predictions.

        Raises:
            TrackingError: If the server does not answer or refuses.
        """
        return Path(self._say("download_artifacts", version.run_id, TEXTS, str(folder)))

    def find(self, name: str, tag: str, value: str) -> Version | None:
        """Return the version whose tag has a given value, or None.

        Args:
            name: Name of the model.
            tag: Name of the tag.
            value: Value of the tag.

        Raises:
            TrackingError: If the server does not answer or refuses.
        """
        found = self._say("search_model_versions", f"name = '{name}'")
        versions = [self._version(version) for version in found]
        return next((v for v in versions if v.tags.get(tag) == value), None)

    def register(self, name: str, run_id: str, bundle: Path, tags: Mapping[str, str]) -> Version:
        """Store a bundle among a run's artifacts and register it as the newest version of a model.

        Args:
            name: Name of the model; created if missing.
            run_id: Id of the sweep's own run.
            bundle: Folder of the bundle.
            tags: Tags of the version.

        Raises:
            TrackingError: If the server does not answer or refuses.
        """
        try:
            self._wire.call("create_registered_model", name)
        except RequestRejectedError:
            pass  # the model exists already
        except ServerUnavailableError as error:
            raise self._away(error) from None
        self._say("log_artifacts", run_id, str(bundle), BUNDLE)
        # The upload precedes the version, so no version refers to missing files.
        source = f"{self._say('get_run', run_id).info.artifact_uri}/{BUNDLE}"
        return self._version(
            self._say(
                "create_model_version", name, source, run_id, dict(tags), await_creation_for=0
            )
        )

    def keep_texts(self, run_id: str, folder: Path) -> None:
        """Store a folder of texts among a run's artifacts."""
        self._say("log_artifacts", run_id, str(folder), TEXTS)

    def decide(self, name: str, version: Version, wins: bool, why: str) -> None:
        """Record a decision: set the alias if the version wins, and describe it on both pages.

        Args:
            name: Name of the model.
            version: Version that was compared with the champion.
            wins: Whether the version becomes the champion.
            why: Reason, shown on the pages of the version and of the model.

        Raises:
            TrackingError: If the server does not answer or refuses.
        """
        if wins:
            self._say("set_registered_model_alias", name, CHAMPION, version.number)
        self._say("update_model_version", name, version.number, why)
        before = (self._say("get_registered_model", name).description or "").split("\n")
        line = f"- **Version {version.number}** {'is' if wins else 'is not'} champion: {why}"
        lines = [line, *(old for old in before if old)][:_MOST_LINES]
        self._say("update_registered_model", name, "\n".join(lines))

    def _say(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call the client; report every failure as a `TrackingError`."""
        try:
            return self._wire.call(method, *args, **kwargs)
        except (ServerUnavailableError, RequestRejectedError) as error:
            raise self._away(error) from None

    def _away(self, error: Exception) -> TrackingError:
        """Return the error for a failed request."""
        return TrackingError(f"the request to the registry at {self._uri} failed: {error}")

    def _version(self, found: Any) -> Version:
        """Convert a version of MLflow's client."""
        return Version(str(found.version), str(found.run_id), dict(found.tags))
