#!/usr/bin/env bash
# The main job on the embedded data: install, train, prune by half, report.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
ensure_installed

SECONDS=0
namprune train --recipe quickstart
namprune prune
namprune report
echo "finished in ${SECONDS} s after installation" >&2
