#!/usr/bin/env bash
# Run a sweep on SLURM, on one node or on several nodes that share the current folder:
#
#   sbatch --nodes=4 --gres=gpu:4 jobs/cluster/slurm.sh search_spaces/sample.yaml [overrides …]
#
# Two minutes before its time limit, the job requeues itself; it then continues from its journal and
# checkpoints. After scancel or the failure of a node, submit the same command again to continue.
# Kinesweep must be installed in $KINESWEEP_VENV (default: .venv in the current folder); nothing
# is downloaded. At its end, `ray symmetric-run` stops all of your Ray processes on its nodes, so
# allocate whole nodes, as `--exclusive` does below.
#SBATCH --job-name=kinesweep
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=kinesweep-%j.log
set -euo pipefail
[ $# -ge 1 ] || { echo "give a search space: sbatch jobs/cluster/slurm.sh SPACE" >&2; exit 2; }

export PATH="${KINESWEEP_VENV:-$PWD/.venv}/bin:$PATH"
export KINESWEEP_HOME="${KINESWEEP_HOME:-$PWD/.kinesweep}"
export HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
# Ray's own files stay local to each node, separate from those of other jobs and other users.
export RAY_TMPDIR="${TMPDIR:-/tmp}/kinesweep-$(id -u)-$SLURM_JOB_ID"
# Every client of Ray's ports needs this token. It is stored in the shared folder, readable only by
# you.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$KINESWEEP_HOME/services/ray_token"
if [ ! -s "$RAY_AUTH_TOKEN_PATH" ]; then
  (umask 077 && mkdir -p "$KINESWEEP_HOME/services" &&
    head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$RAY_AUTH_TOKEN_PATH")
fi
# A killed job may leave Ray processes behind, which would prevent Ray from starting again.
clean() {
  for old in "${RAY_TMPDIR%-*}"-*; do
    [ -d "$old" ] || continue
    if [ "$old" != "$RAY_TMPDIR" ] && [ -n "$(squeue --noheader --jobs "${old##*-}" 2>/dev/null)" ]; then
      continue  # it belongs to a job that is still running
    fi
    pkill -KILL -u "$(id -u)" -f -- "$old/" && sleep 2
    rm -rf "$old"
  done
  mkdir -p "$RAY_TMPDIR"
}
export -f clean
srun --ntasks-per-node=1 bash -c clean

# Six consecutive ports that no other job on this machine computes.
port=$((20000 + 6 * ((SLURM_JOB_ID * 7 + $(id -u)) % 2000)))
head=127.0.0.1
if [ "$SLURM_JOB_NUM_NODES" -eq 1 ]; then
  export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0  # otherwise, Ray would listen on an external address
else
  first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
  head=$(getent ahostsv4 "$first" | awk '{ print $1; exit }')
fi
cores=${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}

requeued=
again() {
  requeued=yes
  echo "the time is nearly up: job $SLURM_JOB_ID goes into the queue again"
  scontrol requeue "$SLURM_JOB_ID"
}
trap again USR1

# `ray symmetric-run` waits 30 s for its head node. If a busy node takes longer, it exits as if it
# had succeeded. The file `began` shows whether the sweep has started.
began="$RAY_TMPDIR/began"
for attempt in 1 2 3; do
  status=0
  srun --kill-on-bad-exit=1 ray symmetric-run --address "$head:$port" \
    --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "$cores" --disable-usage-stats \
    --dashboard-port $((port + 1)) --ray-client-server-port $((port + 2)) \
    --dashboard-agent-listen-port $((port + 3)) --metrics-export-port $((port + 4)) \
    --include-log-monitor=false -- bash -c 'touch "$1" && exec "${@:2}"' began "$began" \
    env RAY_ADDRESS="$head:$port" kinesweep sweep "$1" --resume "${@:2}" &
  wait $! || status=$?
  [ ! -e "$began" ] && [ -z "$requeued" ] || exit "$status"
  echo "Ray did not start (attempt $attempt of 3)" >&2
done
exit 1
