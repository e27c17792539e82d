"""The registry: each sweep's winner is a version of its model, and one version is the `champion`.

Who is better is not decided here. What a later comparison needs (the winner's texts, seed by seed)
is kept among the artifacts of the sweep's own run, beside the bundle; so a champion can be compared
when its sweep's folder is long gone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinesweep.core.errors import TrackingError
from kinesweep.tracking.wire import AwayError, RefusedError, Wire

CHAMPION = "champion"
BUNDLE, TEXTS = "bundle", "winner"
_MOST_LINES = 30
"""Of a model's page: the newest verdicts."""


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        number: as MLflow counts.
        run_id: of the sweep's own run, which holds its files.
        tags: what the version says of itself.
    """

    number: str
    run_id: str
    tags: Mapping[str, str]


def model_name(text: str) -> str:
    """A name in the characters that models may have."""
    return re.sub(r"[^\w. -]", "-", text).strip() or "model"


class Registry:
    """Models at one MLflow server.

    Args:
        uri: its address.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._wire = Wire(uri)

    def champion(self, name: str) -> Version | None:
        """The version with the alias, or None.

        Raises:
            TrackingError: the server is away.
        """
        try:
            return self._version(self._wire.call("get_model_version_by_alias", name, CHAMPION))
        except RefusedError:
            return None
        except AwayError as error:
            raise self._away(error) from None

    def texts(self, version: Version, folder: Path) -> Path:
        """Fetches the texts that a version's seeds wrote; returns where they lie."""
        return Path(self._say("download_artifacts", version.run_id, TEXTS, str(folder)))

    def find(self, name: str, tag: str, value: str) -> Version | None:
        """The version whose tag has a value, or None."""
        found = self._say("search_model_versions", f"name = '{name}'")
        versions = [self._version(version) for version in found]
        return next((v for v in versions if v.tags.get(tag) == value), None)

    def register(self, name: str, run_id: str, bundle: Path, tags: Mapping[str, str]) -> Version:
        """Keeps a bundle among a run's artifacts and makes it the model's newest version.

        Raises:
            TrackingError: the server is away or refuses.
        """
        try:
            self._wire.call("create_registered_model", name)
        except RefusedError:
            pass  # it is there
        except AwayError as error:
            raise self._away(error) from None
        self._say("log_artifacts", run_id, str(bundle), BUNDLE)
        source = f"{self._say('get_run', run_id).info.artifact_uri}/{BUNDLE}"
        return self._version(
            self._say(
                "create_model_version", name, source, run_id, dict(tags), await_creation_for=0
            )
        )

    def keep_texts(self, run_id: str, folder: Path) -> None:
        """Keeps a folder of texts among a run's artifacts."""
        self._say("log_artifacts", run_id, str(folder), TEXTS)

    def decide(self, name: str, version: Version, wins: bool, why: str) -> None:
        """Moves the alias or leaves it, and writes why on the pages of version and model."""
        if wins:
            self._say("set_registered_model_alias", name, CHAMPION, version.number)
        self._say("update_model_version", name, version.number, why)
        before = (self._say("get_registered_model", name).description or "").split("\n")
        line = f"- **Version {version.number}** {'is champion' if wins else 'is not'}: {why}"
        lines = [line, *(old for old in before if old)][:_MOST_LINES]
        self._say("update_registered_model", name, "\n".join(lines))

    def _say(self, method: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._wire.call(method, *args, **kwargs)
        except (AwayError, RefusedError) as error:
            raise self._away(error) from None

    def _away(self, error: Exception) -> TrackingError:
        return TrackingError(f"the registry at {self._uri} could not be asked: {error}")

    def _version(self, found: Any) -> Version:
        return Version(str(found.version), str(found.run_id), dict(found.tags))
