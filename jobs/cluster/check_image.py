"""Check of an image, executed inside it: `build_image.sh` runs it with CHECK=1.

The head gets free ports, because some builders share the network of the machine.
"""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time


def find_free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def check_head() -> None:
    """Start a head as KubeRay does and run a task that imports Kinesweep."""
    folder = tempfile.mkdtemp(prefix="ray-")
    with open(f"{folder}/token", "w") as file:
        file.write(secrets.token_hex(32))
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": f"{folder}/token"}
    # Without this, Ray replaces 127.0.0.1 by the machine's external address and listens there.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    # Ray reads its authentication when it is imported.
    import ray

    port, client_port, agent_port, metrics_port, dashboard_port = find_free_ports(5)
    command = ["ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=1"]
    command += ["--node-ip-address=127.0.0.1", "--include-dashboard=false"]
    command += [f"--ray-client-server-port={client_port}", f"--metrics-export-port={metrics_port}"]
    command += [f"--dashboard-agent-listen-port={agent_port}", f"--temp-dir={folder}"]
    command += [f"--dashboard-port={dashboard_port}", "--disable-usage-stats"]
    with subprocess.Popen(command) as head:
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    ray.init(address=f"127.0.0.1:{port}", log_to_driver=False)
                    break
                except ConnectionError:
                    if head.poll() is not None or time.monotonic() > deadline:
                        raise
                    time.sleep(1)
            version = ray.get(ray.remote(lambda: __import__("kinesweep").__version__).remote())
            print(f"a task of Ray {ray.__version__} imports Kinesweep {version}")
            ray.shutdown()
        finally:
            head.terminate()


def main() -> None:
    """Check the user, the command line, what is shipped with it, and Ray."""
    assert os.getuid() == 1000, f"the user is {os.getuid()}, not 1000"
    for words in (["doctor"], ["recipes", "--copy", "sample", tempfile.mkdtemp()]):
        subprocess.run(["kinesweep", *words], check=True)
    check_head()


if __name__ == "__main__":
    sys.exit(main())
