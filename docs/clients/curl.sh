#!/bin/sh
# Detect with curl: sh curl.sh http://localhost:8000 image.png
set -eu
url=$1 image=$2

# --fail-with-body: an error is a problem document, whose "detail" says what to change. Refused for want of capacity (429),
# --retry waits as long as Retry-After says.
curl --silent --show-error --fail-with-body --retry 5 \
    "$url/v1/detect?score_threshold=0.5" \
    -H 'Content-Type: application/octet-stream' \
    --data-binary "@$image"

# The picture with everything drawn on it.
curl --silent --show-error --fail-with-body --retry 5 \
    "$url/v1/detect" \
    -H 'Accept: image/png' -H 'Content-Type: application/octet-stream' \
    --data-binary "@$image" --output detected.png
