#!/usr/bin/env bash
# torch_index.sh INDEX BASE-IMAGE: prints the package index that torch is taken from inside a build:
# INDEX if a container of BASE-IMAGE can reach it, else nothing, which means pip's own.
set -euo pipefail
index=$1 base=$2
probe='import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=10)'
if ${DOCKER:-docker} run --rm --entrypoint python3 "$base" -c "$probe" "$index/torch/" 2>/dev/null; then
    echo "$index"
else
    echo "$index does not answer: torch comes from where pip finds it," >&2
    echo "on PyPI that is the CUDA build of several GB. TORCH_INDEX=... names another place." >&2
fi
