#!/usr/bin/env bash
# The three services side by side; the first one that ends, or Ctrl-C, ends all.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export PYTHON="${PYTHON:-.venv/bin/python}"

pids=()
stop() {
    trap - INT TERM EXIT
    kill -TERM "${pids[@]}" 2>/dev/null
    wait
}
trap stop INT TERM EXIT

for service in llm backend frontend; do
    "runners/$service.sh" &
    pids+=($!)
done
wait -n
