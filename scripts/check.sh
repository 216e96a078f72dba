#!/usr/bin/env bash
# Style, layout and types. Expects the dev extra to be installed.
set -euo pipefail
cd "$(dirname "$0")/.."
ruff check .
ruff format --check .
mypy
