#!/usr/bin/env bash
# Build the image on a Debian machine with neither a container engine's daemon nor a registry (`make image`).
#
#   deploy/image/build.sh [TARGET]   cpu (default), gpu or fetch: localhost/rcnn:<version in pyproject.toml>, -gpu, -fetch
#   BASE=... deploy/image/build.sh   start from a base that buildah already holds, instead of making one
#
# Needs root, buildah and debootstrap. Where there is Docker: docker build -t rcnn .
set -euo pipefail
cd "$(dirname "$0")/../.."
source deploy/image/buildah.sh
need buildah debootstrap

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
target=${1:-cpu}
image=localhost/rcnn:$version
[[ $target == cpu ]] || image=$image-$target
revision=$(git rev-parse --verify --quiet HEAD || echo unknown)
suite=bookworm

# The Debian sources of this machine's own apt, security updates among them: what is reachable from here is known here.
sources() {
    apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(SITE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v suite=$suite '$1 == "Debian" && index($2, suite) == 1 {print "deb", $3, $2, $4}' | sort -u
}

# Debian with Python and little else, made once: about 275 MB that build and do not ship.
# For newer security updates make it anew: buildah rmi localhost/rcnn-base:bookworm
make_base() {
    local folder container mirror
    mirror=$(sources | awk -v suite=$suite '$3 == suite {print $2; exit}')
    [[ $mirror ]] || { echo "build.sh: apt has no source for Debian $suite here; set BASE to an image that buildah holds" >&2; exit 1; }
    folder=$(mktemp -d)
    echo "build.sh: making the base from Debian $suite, once (1-3 minutes)" >&2
    {
        debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates $suite "$folder/root" "$mirror" &&
            sources >"$folder/root/etc/apt/sources.list" &&
            chroot "$folder/root" sh -c 'apt-get update && apt-get -y dist-upgrade && apt-get clean'
    } >"$folder/log" 2>&1 || { tail -20 "$folder/log" >&2; echo "build.sh: that failed; the whole log is $folder/log" >&2; exit 1; }
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$folder/root" >/dev/null
    buildah commit --quiet --rm "$container" "$1" >/dev/null
    rm -rf "$folder"
}

base=${BASE:-localhost/rcnn-base:$suite}
if [[ ! ${BASE:-} ]] && ! buildah inspect --type image "$base" >/dev/null 2>&1; then make_base "$base"; fi

# The builder downloads with the certificates this machine trusts. They are mounted apart from its own, which go into the image.
buildah bud --quiet --layers --pull-never --target "$target" \
    --build-arg BASE="$base" --build-arg VERSION="$version" --build-arg REVISION="$revision" \
    --volume /etc/ssl/certs:/run/machine-certs:ro --build-arg CA_BUNDLE=/run/machine-certs/ca-certificates.crt \
    --tag "$image" . >/dev/null

in_image "$image" show_size
echo "built $image"
