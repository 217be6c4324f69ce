#!/usr/bin/env bash
# Write requirements/*.lock from pyproject.toml, for every platform, with hashes and without any index's
# host name. Arguments go to `uv pip compile`; without `--upgrade` a locked version stays where it can.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" --quiet --quiet --disable-pip-version-check install uv==0.13.9

compile() {
    "$folder/bin/uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 \
        --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
        --custom-compile-command "make lock" "$@"
}

compile "$@" --extra hub --extra valkey --extra http --extra otlp --extra demo --group build \
    --output-file requirements/hub.lock
# Held to the versions above, so that both can be installed into one environment.
compile "$@" --all-extras --group dev --constraints requirements/hub.lock \
    --output-file requirements/dev.lock
