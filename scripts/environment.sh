# Sourced by the other scripts: an environment with namprune in it, made when there is none.
# PYTHON names the interpreter to make it from; an active virtual environment is used as it is.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ensure_installed() { # ensure_installed [EXTRA]
    if [ -z "${VIRTUAL_ENV:-}" ]; then
        [ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
        . .venv/bin/activate
    fi
    python -m pip install --quiet --disable-pip-version-check --editable ".${1:+[$1]}"
}
