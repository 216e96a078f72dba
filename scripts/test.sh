#!/usr/bin/env bash
# Everything that must pass: install with the dev extra, checks, tests. Arguments go to pytest.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
ensure_installed dev
scripts/check.sh
python -m pytest "$@"
