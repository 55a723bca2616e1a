#!/usr/bin/env bash
# Ends with 0 if containers can be built and run here, else says in one line why not.
set -uo pipefail
read -ra docker <<<"${DOCKER:-docker}"
base=debian:bookworm-slim

refuse() {
    echo "$*"
    exit 1
}

command -v "${docker[0]}" >/dev/null || refuse "there is no ${docker[0]} on this machine"
said=$("${docker[@]}" version 2>&1) || refuse "${docker[*]} does not work: $(tail -1 <<<"$said")"
said=$("${docker[@]}" compose version 2>&1) \
    || refuse "${docker[*]} compose does not work: $(tail -1 <<<"$said")"
"${docker[@]}" image inspect "$base" >/dev/null 2>&1 && exit 0
said=$(timeout 120 "${docker[@]}" pull --quiet "$base" 2>&1) \
    || refuse "$base is not here and cannot be pulled: $(tail -1 <<<"$said")"
