"""A Prometheus of a test's own, and the queries that the shipped boards ask."""

import json
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GRAFANA = Path(__file__).resolve().parents[1] / "dashboards/grafana"
_START_S = 30.0
_RATE, _EVER = re.compile(r"\brate\(([^][]+)\[1m\]\)"), r"last_over_time(\1[1h])"


@contextmanager
def prometheus(program: str, folder: Path, ray_folder: Path) -> Iterator[str]:
    """Run Prometheus with the shipped configuration on a free port of loopback.

    Only the places of Ray's list of nodes and the interval differ: a test does not wait 5 s.
    Yields its address.
    """
    shipped = (GRAFANA / "prometheus.yml").read_text()
    assert "/tmp/ray/prom_metrics" in shipped and "_interval: 5s" in shipped
    config = folder / "prometheus.yml"
    config.write_text(
        shipped.replace("/tmp/", f"{ray_folder}/").replace("_interval: 5s", "_interval: 1s")
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    options += [f"--web.listen-address={address}", "--log.level=error"]
    process = subprocess.Popen([program, *options])
    try:
        _wait_until_ready(f"http://{address}")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)


def board_queries() -> dict[str, str]:
    """Return `board/panel/query` → PromQL, with Grafana's variables filled in as it does."""
    found = {}
    for board in sorted(GRAFANA.glob("*.json")):
        for panel in json.loads(board.read_text())["panels"]:
            for target in panel.get("targets", []):
                query = target["expr"].replace("$__rate_interval", "1m")
                query = query.replace("$sweep", ".*").replace("$instance", ".*")
                found[f"{board.stem}/{panel['title']}/{target['refId']}"] = query
    return found


def has_data(address: str, query: str) -> bool:
    """Return whether a query has data now, or its series have been there in the last hour.

    A rate needs two scrapes of a metric. Ray forgets the metrics of an extraction when it ends, and
    beside other tests a scrape may time out, so of a rate one scrape is enough here.

    Raises:
        HTTPError: The query is not PromQL.
    """
    return _has_result(address, query) or _has_result(address, _RATE.sub(_EVER, query))


def _has_result(address: str, query: str) -> bool:
    asked = urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(f"{address}/api/v1/query?{asked}", timeout=10) as reply:
        return bool(json.load(reply)["data"]["result"])


def _wait_until_ready(address: str) -> None:
    give_up = time.monotonic() + _START_S
    while time.monotonic() < give_up:
        try:
            urllib.request.urlopen(f"{address}/-/ready", timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("Prometheus does not start")
