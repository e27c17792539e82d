"""The cluster files, as far as they can be checked without a cluster of their kind.

Fields of KubeRay's objects are those of its API reference (v1.6); pods are checked against the
published schemas of Kubernetes, the cluster file by Ray's own code.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import ray
import yaml

from kinesweep.version import __version__

FOLDER = Path(__file__).resolve().parents[2] / "jobs" / "cluster"
JOB = {
    *("activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy"),
    *("entrypoint", "entrypointNumCpus", "entrypointNumGpus", "entrypointResources", "jobId"),
    *("managedBy", "metadata", "preRunningDeadlineSeconds", "rayClusterSpec", "runtimeEnvYAML"),
    *("shutdownAfterJobFinishes", "submissionMode", "submitterConfig", "submitterPodTemplate"),
    *("suspend", "ttlSecondsAfterFinished"),
}
CLUSTER = {
    *("authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions"),
    *("headGroupSpec", "headServiceAnnotations", "managedBy", "rayVersion", "suspend"),
    *("upgradeStrategy", "workerGroupSpecs"),
}
HEAD = {
    *("enableIngress", "headService", "labels", "rayStartParams", "resources", "serviceType"),
    "template",
}
WORKERS = {
    *("groupName", "idleTimeoutSeconds", "labels", "maxReplicas", "minReplicas", "numOfHosts"),
    *("rayStartParams", "replicas", "resources", "scaleStrategy", "suspend", "template"),
}


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "kuberay.yaml").read_text()))


def test_the_ray_job_has_known_fields_and_our_ray(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert set(job["spec"]) <= JOB
    assert set(cluster) <= CLUSTER
    assert set(cluster["headGroupSpec"]) <= HEAD
    assert all(set(group) <= WORKERS for group in cluster["workerGroupSpecs"])
    assert cluster["rayVersion"] == ray.__version__
    assert cluster["authOptions"] == {"mode": "token"}
    env = yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"]
    assert all(isinstance(value, str) for value in env.values())
    ray.runtime_env.RuntimeEnv(env_vars=env)


def test_its_pods_are_pods(job: dict[str, Any]) -> None:
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, **group["template"]}
        kubernetes_validate.validate(pod, "1.30", strict=True)
        mounts = group["template"]["spec"]["containers"][0]["volumeMounts"]
        assert "/kinesweep" in [mount["mountPath"] for mount in mounts], "all see the same folder"


def test_the_cluster_file_is_one_for_ray() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    plain = yaml.safe_load((FOLDER / "ray-cluster.yaml").read_text())
    validate_config(prepare_config(plain))
    commands = " ".join([*plain["head_start_ray_commands"], *plain["worker_start_ray_commands"]])
    assert commands.count("RAY_AUTH_MODE=token") == 2


def test_the_pods_run_the_images_of_this_version(job: dict[str, Any]) -> None:
    """A head without a GPU, workers with one; as the user that the Dockerfile makes."""
    cluster = job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], workers)]
    images = [pod["containers"][0]["image"] for pod in pods]
    assert images == [f"kinesweep:{__version__}", f"kinesweep:{__version__}-cuda"]
    (uid,) = re.findall(r"--uid (\d+)", (FOLDER / "Dockerfile").read_text())
    assert [pod["securityContext"]["runAsUser"] for pod in pods] == [int(uid)] * 2
    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text())["project"]
    pins = (FOLDER.parents[1] / "constraints.txt").read_text().splitlines()
    assert project["version"] == __version__
    assert f"ray=={cluster['rayVersion']}" in pins


def test_the_dockerfile_copies_what_is_sent_and_runs_without_root() -> None:
    """Each file that it copies exists and is let through by `.dockerignore`."""
    root = FOLDER.parents[1]
    text = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")
    steps = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    sent = {
        line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = [
        w for step in steps if step[0] == "COPY" and "--from" not in step[1] for w in step[1:-1]
    ]
    assert len(copied) >= 7
    for name in copied:
        assert (root / name).exists()
        assert name in sent or any(Path(each).is_relative_to(name) for each in sent), name
    users = [number for number, step in enumerate(steps) if step[0] == "USER"]
    last = max(number for number, step in enumerate(steps) if step[0] == "FROM")
    assert [steps[number][1] for number in users] == ["kinesweep"] and users[0] > last
    installs = re.findall(r"pip install [^&\n]*", text)
    assert len(installs) == 4
    assert all("-c constraints.txt" in i or "--no-deps" in i or "pip>=" in i for i in installs)
