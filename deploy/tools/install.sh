#!/usr/bin/env bash
# Bring what the tests use beside Python packages: helm, grpcurl, kube-score, protocol clients, Chromium, node, Prometheus. What cannot be had is said, not fatal:
# the tests that need it then skip with the same words (and fail where CI is set).
set -u
here=$(dirname "$0")

"$here/helm.sh" >/dev/null || echo "tools: no helm; the chart tests will be skipped" >&2
"$here/grpcurl.sh" >/dev/null || echo "tools: no grpcurl; its tests will be skipped" >&2
"$here/kube_score.sh" >/dev/null || echo "tools: no kube-score; its test will be skipped" >&2
"$here/oip_clients.sh" >/dev/null || echo "tools: no tritonclient and kserve; their tests will be skipped" >&2

if ! command -v chromium chromium-browser google-chrome >/dev/null; then
    if command -v apt-get >/dev/null && [[ $(id -u) == 0 ]]; then
        echo "tools: installing chromium" >&2
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; } >/dev/null 2>&1 \
            || echo "tools: chromium could not be installed; the page's tests will be skipped" >&2
    else
        echo "tools: no Chromium; install chromium or google-chrome, or the page's tests will be skipped" >&2
    fi
fi
if ! command -v node >/dev/null && command -v apt-get >/dev/null && [[ $(id -u) == 0 ]]; then
    echo "tools: installing nodejs" >&2
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nodejs; } >/dev/null 2>&1 || true
fi
if ! { command -v promtool && command -v amtool; } >/dev/null && command -v apt-get >/dev/null && [[ $(id -u) == 0 ]]; then
    echo "tools: installing prometheus and prometheus-alertmanager" >&2
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends prometheus prometheus-alertmanager; } >/dev/null 2>&1 || true
fi
command -v promtool >/dev/null || echo "tools: no prometheus; the tests of alerts and dashboards will be skipped" >&2
command -v amtool >/dev/null || echo "tools: no alertmanager; drills will not run and its tests will be skipped" >&2
command -v node >/dev/null || echo "tools: no node; the JavaScript client's test will be skipped" >&2
command -v go >/dev/null || echo "tools: no go; the Go client's test will be skipped" >&2
exit 0
