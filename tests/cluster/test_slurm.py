"""The SLURM script on a real SLURM of one node, in a PID namespace of its own: `ray symmetric-run`
stops every Ray that it sees when it ends.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from corpus import tiny_corpus, tiny_recipe
from kinesweep.sweeps.journal.journal import read_journal
from needs import need

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * 900)]
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "jobs" / "cluster" / "slurm.sh"
# One core is one slot: each starts five processes, here without the help of `worker_server.py`,
# because these jobs live in a PID namespace of their own. Two threads would wait for each other in
# loops, beside other tests for four fifths of their time.
CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={next_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmUser=root
SlurmdUser=root
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
JobRequeue=1
KillWait=5
MinJobAge=3600
NodeName=node NodeAddr=127.0.0.1 NodeHostname={host} CPUs=1 State=UNKNOWN
PartitionName=all Nodes=node Default=YES MaxTime=INFINITE State=UP
"""
START = """
munged --force --socket={folder}/munge/socket --key-file={folder}/munge/key \
  --pid-file={folder}/munge/pid --log-file={folder}/munge/log --seed-file={folder}/munge/seed
slurmctld -f {folder}/slurm.conf
slurmd -f {folder}/slurm.conf -N node
sleep infinity
"""
TRIALS = 6
SPACE = {
    "question": "Does a tiny sweep end on SLURM?",
    "recipe": "tiny.yaml",
    "search": {"kind": "random", "trials": TRIALS, "seed": 0},
    "pruner": {"kind": "none"},
    "finalists": {"count": 1, "seeds": [1, 2]},
    "baseline": False,
    "sanity_baselines": [],
    "parameters": {"training.learning_rate": {"log": [1e-3, 1e-2]}},
}
Slurm = Callable[..., str]


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """Calls SLURM's commands; the whole of it is killed at the end."""
    for program in ("sbatch", "slurmctld", "munged", "unshare"):
        need(program, f"/usr/sbin/{program}")
    if os.geteuid() != 0:
        pytest.skip("a SLURM of its own is started by root alone")
    # Its sockets' paths must be short.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o755)
    folder.chmod(0o711)
    (folder / "munge/key").write_bytes(os.urandom(1024))
    (folder / "munge/key").chmod(0o400)
    port = 26000 + os.getpid() % 2000 * 2
    facts = {"host": socket.gethostname(), "port": port, "next_port": port + 1, "folder": folder}
    (folder / "slurm.conf").write_text(CONFIG.format(**facts))
    (folder / "start.sh").write_text(START.format(**facts))
    namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    path = f"{os.environ['PATH']}:/usr/sbin"
    running = subprocess.Popen(
        [*namespace, "bash", str(folder / "start.sh")],
        env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def call(*words: str, **variables: str) -> str:
        others = ("RAY_", "MLFLOW_", "KINESWEEP_HOME")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(others)}
        inherited["RAY_worker_niceness"] = "0"  # see `conftest.py`
        env = {**inherited, "SLURM_CONF": str(folder / "slurm.conf"), **variables}
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    try:
        wait_for(lambda: "idle" in call("sinfo", "--noheader", "--format=%T"), 60)
        yield call
    finally:
        running.kill()
        running.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slurm")
    recipe = tiny_recipe(tiny_corpus(folder), folder / "stores", training={"max_steps": 100})
    plain = recipe.model_dump(mode="json")
    del plain["resources"]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(plain))
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE))
    return folder


def wait_for(holds: Callable[[], object], seconds: float = 800) -> None:
    """Wait until something holds. The limit only ends waits in vain: jobs share the cores."""
    give_up = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except AssertionError:
            if time.monotonic() > give_up:
                raise
        assert time.monotonic() < give_up
        time.sleep(0.2)


def submit(slurm: Slurm, home: Path, name: str, *options: str) -> str:
    """Submits the script as README says. Returns the job's number."""
    log = f"--output={home / name}.log"
    words = ["sbatch", "--parsable", f"--chdir={home}", log, *options, str(SCRIPT), "space.yaml"]
    python = os.pathsep.join([str(ROOT / "platform"), str(ROOT / "tests")])
    venv = str(Path(sys.executable).parent.parent)
    return slurm(*words, f"--name={name}", KINESWEEP_VENV=venv, PYTHONPATH=python)


def state(slurm: Slurm, job: str) -> str:
    return slurm("scontrol", "show", "job", job).split("JobState=")[1].split()[0]


def ends_well(slurm: Slurm, home: Path, name: str, job: str) -> None:
    wait_for(lambda: state(slurm, job) in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"))
    log = (home / f"{name}.log").read_text()
    assert state(slurm, job) == "COMPLETED", log[-3000:]
    assert "bundle verified" in log
    assert (home / f".kinesweep/exports/{name}/model.safetensors").is_file()
    ended = [e["trial"] for e in events(home, name) if e["event"] == "trial_ended"]
    assert sorted(ended) == list(range(TRIALS)), "each trial ended once"


def events(home: Path, name: str) -> list[dict[str, object]]:
    folder = home / ".kinesweep/sweeps" / name
    return read_journal(folder) if (folder / "journal.jsonl").exists() else []


def trials_ended(home: Path, name: str) -> int:
    return sum(event["event"] == "trial_ended" for event in events(home, name))


def wait_for_a_trial(slurm: Slurm, home: Path, name: str, job: str, after: int) -> None:
    """Until one more trial ended; fails with the log when the job ends before."""
    waiting = ("PENDING", "RUNNING", "CONFIGURING")
    wait_for(lambda: trials_ended(home, name) > after or state(slurm, job) not in waiting)
    assert trials_ended(home, name) > after, (home / f"{name}.log").read_text()[-3000:]


def test_cancelled_submitted_again_and_out_of_time(slurm: Slurm, home: Path) -> None:
    """The signal before the end of its time is sent by hand: SLURM's own clock counts minutes."""
    job = submit(slurm, home, "again")
    wait_for_a_trial(slurm, home, "again", job, after=0)
    slurm("scancel", job)
    wait_for(lambda: state(slurm, job) == "CANCELLED", 60)
    before = trials_ended(home, "again")
    assert 0 < before < TRIALS - 2
    assert not (home / ".kinesweep/sweeps/again/result.json").exists()

    job = submit(slurm, home, "again")
    wait_for_a_trial(slurm, home, "again", job, after=before)
    slurm("scancel", "--batch", "--signal=USR1", job)
    wait_for(lambda: "goes into the queue again" in (home / "again.log").read_text(), 60)
    # A requeued job waits two minutes, unless it is told not to.
    wait_for(lambda: state(slurm, job) == "PENDING", 60)
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now")
    ends_well(slurm, home, "again", job)
    result = json.loads((home / ".kinesweep/sweeps/again/result.json").read_text())
    assert result["trials"] == {"finished": TRIALS}
    token = home / ".kinesweep/services/ray_token"
    assert token.stat().st_mode & 0o077 == 0 and len(token.read_text()) == 64
