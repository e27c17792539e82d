"""Read by Python at its start where this folder is in PYTHONPATH: has workers of Ray forked.

Does nothing in any other process, and nothing when there is no server (`worker_server.py`): the
worker then starts as it always does.
"""

import sys

# With a runtime environment Ray runs the first, which becomes the second.
STARTS = (
    "/ray/_private/workers/setup_worker.py",
    "/ray/_private/workers/default_worker.py",
)
if len(sys.orig_argv) > 1 and sys.orig_argv[1].endswith(STARTS):
    import json
    import os
    import socket

    def _hand_over(address: str) -> bool:
        """Ask the server for a process in place of this one. Returns whether it runs."""
        wanted = {
            "arguments": sys.orig_argv[1:],
            "environment": dict(os.environ),
            "folder": os.getcwd(),
            "paths": sys.path,
            "niceness": os.nice(0),
        }
        try:
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(address)
                socket.send_fds(server, [b"0"], [0, 1, 2])
                server.sendall(json.dumps(wanted).encode())
                server.shutdown(socket.SHUT_WR)
                return server.recv(1) == b"1"
        except OSError:
            return False

    if _hand_over(os.environ.get("KINESWEEP_WORKER_SERVER", "")):
        os._exit(0)
