#!/usr/bin/env bash
# Everything that must pass: install with the dev extra, checks, the site, tests. Arguments go to pytest.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
ensure_installed dev
scripts/check.sh
scripts/docs.sh
# one process per core, each with one thread: the tests are many and small
OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" python -m pytest --numprocesses auto --dist worksteal "$@"
