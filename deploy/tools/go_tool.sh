# Sourced by the scripts beside it: a pinned, real tool, built once from its Go module, outside the project.
#
#   go_tool NAME VERSION PACKAGE [FLAG...]   prints the path of NAME; builds PACKAGE@VERSION first if it is not there yet
#
# With only_look=true it prints nothing and exits 1 where it would build. Tools lie in
# ${RCNN_TOOLS:-${XDG_CACHE_HOME:-~/.cache}/rcnn/tools}.
set -euo pipefail

only_look=false
if [[ ${1:-} == --cached ]]; then only_look=true; shift; fi

go_tool() {
    local name=$1 version=$2 package=$3
    local folder=${RCNN_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/rcnn/tools}/$name-$version
    shift 3
    if [[ ! -x $folder/$name ]]; then
        if $only_look; then exit 1; fi
        if ! command -v go >/dev/null; then
            echo "tools: $name $version is built from source and needs Go 1.26 or newer, which is not on PATH. Install Go, or put $name on PATH: tests take that one." >&2
            exit 1
        fi
        echo "tools: building $name $version into $folder (once, 1-3 minutes)" >&2
        GOBIN=$folder go install "$@" "$package@$version" >&2
    fi
    echo "$folder/$name"
}
