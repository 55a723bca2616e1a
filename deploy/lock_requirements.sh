#!/usr/bin/env bash
# Writes deploy/requirements/*.lock: every package of an image with its version and hashes.
# Left out on purpose:
#   torch            its wheel differs between PyTorch's indexes (CPU, CUDA) and PyPI
set -euo pipefail
cd "$(dirname "$0")/.."
locks=deploy/requirements

compile() {
    ${UV:-uv} pip compile --quiet --generate-hashes --no-strip-markers --no-annotate \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --custom-compile-command "make lock_requirements" "$@"
}

compile req_backend.txt -o "$locks/backend.lock"
compile "$locks/telegram.in" -c "$locks/backend.lock" \
    --override <(grep '^pydantic==' req_backend.txt) -o "$locks/telegram.lock"
compile req_frontend.txt -o "$locks/frontend.lock"
grep -v '^torch==' req_llm.txt | cat - "$locks/torch.in" | compile - -o "$locks/llm.lock"
compile req_onnx.txt -c "$locks/llm.lock" -o "$locks/onnx.lock"
compile "$locks/torch.in" -c "$locks/llm.lock" -o "$locks/torch.lock"
