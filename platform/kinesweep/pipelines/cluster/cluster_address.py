"""Addresses of Ray: the check that a cluster can be at one, and free ports for a new one.

The check takes seconds instead of Ray's minutes.
"""

import socket
import time

from kinesweep.core.errors import ResourceError

_TIMEOUT_S = 10.0
_RETRY_S = 0.5


def check_cluster_address(address: str, timeout_s: float = _TIMEOUT_S) -> None:
    """Check that something listens at the address of a cluster, `host:port`.

    Ray itself would try for several minutes. Other forms of addresses are left to Ray.

    Args:
        address: Address of a cluster.
        timeout_s: Time within which a connection must be accepted.

    Raises:
        ResourceError: If nothing accepts a connection.
    """
    host, separator, port = address.rpartition(":")
    # `ray://host:port` is the address of another protocol.
    if not separator or not port.isdecimal() or "/" in host:
        return
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout_s).close()
            return
        except (OSError, OverflowError) as error:
            # Repeated, because a head that was started a moment ago may not listen yet.
            if time.monotonic() > deadline_s:
                raise ResourceError(
                    f"nothing listens at `{address}`, the address of a Ray cluster: {error}; start"
                    " the cluster, or correct `--address` or `RAY_ADDRESS`"
                ) from None
        time.sleep(_RETRY_S)


def find_first_free_port() -> int:
    """Return the first of five consecutive free loopback ports, from 6379 up to 7379.

    Only every fifth port is tried as the first one.

    Raises:
        ResourceError: If no such ports are free.
    """
    for first_port in range(6379, 7379, 5):
        try:
            for port in range(first_port, first_port + 5):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first_port
    raise ResourceError(
        "Ray needs five consecutive free ports between 6379 and 7379, and there are none"
    )
