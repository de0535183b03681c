# What build.sh and smoke.sh share: how buildah works in a sandbox. Sourced, not run.

# By environment only. A --storage-driver flag beside it would open another store, where the base is not.
export STORAGE_DRIVER=${STORAGE_DRIVER:-overlay} BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}

# need PROGRAM...: all there, or which packages to install.
need() {
    local program missing=()
    for program in "$@"; do command -v "$program" >/dev/null || missing+=("$program"); done
    if ((${#missing[@]})); then echo "${0##*/}: missing ${missing[*]}; on Debian: apt-get install ${missing[*]}" >&2; exit 1; fi
}

# in_image IMAGE COMMAND...: run a command of this machine with the image's root as its last argument.
in_image() {
    local image=$1 container status=0
    container=$(buildah from --pull-never "$image")
    "${@:2}" "$(buildah mount "$container")" || status=$?
    buildah rm "$container" >/dev/null
    return $status
}

# show_size ROOT: unpacked, in millions of bytes, and where they are.
show_size() {
    local path
    for path in usr opt/rcnn app ""; do
        du --summarize --bytes "$1/$path" | awk -v path="/$path" '{printf "%5.0f MB  %s\n", $1 / 1e6, path}'
    done
}
