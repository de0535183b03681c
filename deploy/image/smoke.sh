#!/usr/bin/env bash
# Does the built image work? Start it as a pod would, and detect something, with each engine.
#
#   deploy/image/smoke.sh [IMAGE] [ENGINE...]     default: localhost/rcnn:<version>, onnx and openvino
#
# Like a pod: the image's own entrypoint, environment and user, a read-only root, a small /tmp, no way to gain privileges.
# Unlike a pod: no network but its own loopback, which proves that starting and detecting fetch nothing.
# Needs root and buildah. What is asked of it is in smoke_inside.py.
set -euo pipefail
cd "$(dirname "$0")/../.."
source deploy/image/buildah.sh
need buildah unshare setpriv ip

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
image=${1:-localhost/rcnn:$version}
engines=("${@:2}")
if ((${#engines[@]} == 0)); then engines=(onnx openvino); fi

configured() { buildah inspect --type image --format "$1" "$image"; }
user=$(configured '{{.OCIv1.Config.User}}')
mapfile -t environment < <(configured '{{range .OCIv1.Config.Env}}{{println .}}{{end}}' | grep =)
mapfile -t entrypoint < <(configured '{{range .OCIv1.Config.Entrypoint}}{{println .}}{{end}}' | grep .)

# like_a_pod ENGINE PROGRAM... ROOT: the mounts, the network and every process go when the namespaces do.
# What does the locking up comes from this machine, by its full path: the image has no such programs.
like_a_pod() {
    local engine=$1 root=${!#}
    unshare --mount --net --pid --fork --kill-child bash -euc '
        root=$1
        mount --bind "$root" "$root"
        mount -t tmpfs -o size=64m,mode=1777 tmp "$root/tmp"
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount --bind -o ro /sys "$root/sys"
        mount -o remount,ro,bind "$root"
        ip link set lo up
        exec "${@:2}"
    ' like_a_pod "$root" \
        "$(command -v env)" -i "${environment[@]}" RCNN_ENGINE="$engine" \
        "$(command -v setpriv)" --no-new-privs --inh-caps=-all \
        "$(command -v chroot)" --userspec="$user" --groups="" "$root" "${@:2:$#-2}"
}

in_image "$image" show_size
for engine in "${engines[@]}"; do
    echo "--- $image, engine $engine"
    in_image "$image" like_a_pod "$engine" /opt/rcnn/bin/python -c "$(cat deploy/image/smoke_inside.py)" "${entrypoint[@]}"
done
