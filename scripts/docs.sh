#!/usr/bin/env bash
# Builds the site of the documentation into site/; a stale reference page, a dead link or a page that is not in the
# navigation fails. Expects the docs extra, or dev, to be installed.
set -euo pipefail
cd "$(dirname "$0")/.."
python scripts/make_reference.py --check
NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet "$@"
