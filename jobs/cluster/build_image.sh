#!/bin/sh
# Build the image of `Dockerfile` and, with CHECK=1, start Ray and Kinesweep in it.
#
# Usage: [BUILDER=docker|podman|buildah] [BASE=IMAGE|FOLDER] [CHECK=1] build_image.sh [cpu|cuda] [OPTION ...]
#
# BUILDER: default: the first of the three that works here.
# BASE:    image to begin with, or the root folder of a Debian system, for machines that reach no
#          registry: `debootstrap --variant=minbase bookworm FOLDER` makes one of 275 MB in a minute.
# OPTION:  further options of the builder, such as `--build-arg TORCH_INDEX=URL`.
set -eu

device=${1:-cpu}
[ $# -eq 0 ] || shift
case $device in
  cpu) suffix= ;;
  cuda) suffix=-cuda ;;
  *) echo "DEVICE must be cpu or cuda, but is '$device'" >&2; exit 2 ;;
esac
root=$(cd "$(dirname "$0")/../.." && pwd)
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/platform/kinesweep/version.py")
image=kinesweep:$version$suffix

# A client of Docker may be installed without its server.
works() {
  command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1
}

builder=${BUILDER:-}
for name in docker podman buildah; do
  [ -n "$builder" ] || ! works "$name" || builder=$name
done
if [ -z "$builder" ]; then
  echo "no builder works here: start Docker, or install podman or buildah" >&2
  exit 2
elif ! works "$builder"; then
  echo "BUILDER '$builder' is not installed, or its server does not answer" >&2
  exit 2
fi
# Without a runtime for containers, buildah executes the steps in a changed root.
if [ "$builder" = buildah ] && ! command -v crun >/dev/null && ! command -v runc >/dev/null; then
  export BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"
fi

# Import a folder as an image; all owners and modes are kept.
import_base() {
  if [ "$builder" = buildah ]; then
    container=$(buildah from scratch)
    cp -a "$1/." "$(buildah mount "$container")"
    buildah commit --quiet --rm "$container" localhost/kinesweep-base >/dev/null
  else
    tar -C "$1" -c . | "$builder" import - localhost/kinesweep-base >/dev/null
  fi
}

if [ -d "${BASE:-}" ]; then
  import_base "$BASE"
  BASE=localhost/kinesweep-base
fi
[ -z "${BASE:-}" ] || set -- --build-arg "BASE=$BASE" "$@"
"$builder" build --file "$root/jobs/cluster/Dockerfile" --build-arg "DEVICE=$device" \
  --tag "$image" "$@" "$root"
echo "built $image"

if [ "${CHECK:-}" = 1 ]; then
  check=$(cat "$root/jobs/cluster/check_image.py")
  if [ "$builder" = buildah ]; then
    container=$(buildah from "$image")
    trap 'buildah rm "$container" >/dev/null' EXIT
    buildah run "$container" -- python -c "$check"
  else
    "$builder" run --rm "$image" python -c "$check"
  fi
fi
