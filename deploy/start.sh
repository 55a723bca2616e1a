#!/usr/bin/env bash
# Starts the three containers in order and says what it waits for. `make up` calls it.
set -euo pipefail
read -ra compose <<<"${COMPOSE:-docker compose}"
model_s=${START_TIMEOUT_S:-3600}
page_s=120

give_up() {
    echo "$1 did not become ready; the end of its log:" >&2
    "${compose[@]}" logs --tail 30 "$1" >&2 || true
    exit 1
}

readable() {
    [[ -n $(find .env -perm -o=r) ]] || getfacl --numeric .env 2>/dev/null | grep -q '^user:10001:r'
}

if ! readable; then
    echo ".env must be readable for the containers' user: chmod o+r .env" >&2
    echo "(or, for this user only: setfacl -m u:10001:r .env)" >&2
    exit 1
fi

echo "Starting the model service. The first start downloads the model."
"${compose[@]}" up -d llm
"${compose[@]}" exec -T llm wait_ready http://127.0.0.1:4321/ready "$model_s" || give_up llm

echo "Starting the backend and the page."
"${compose[@]}" up -d || give_up backend
"${compose[@]}" exec -T frontend wait_ready http://127.0.0.1:8010/_stcore/health "$page_s" \
    || give_up frontend

address=$("${compose[@]}" port frontend 8010)
echo "Ready. The page: http://localhost:${address##*:}"
