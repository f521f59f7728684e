# Sourced by the other scripts: a Python that is new enough, and a virtual environment with what is asked for.
# Reads PYTHON (which Python) and VENV (where; .venv). Leaves $py, the interpreter of the environment.

say() { printf 'vestibule: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

has() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1; }

find_python() {
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$name"
            return
        fi
    done
    die "Python 3.11 or newer is needed (on Debian: apt-get install python3 python3-venv)"
}

# Install Debian packages for the commands that are missing: `need curl nginx:nginx-light`. Without root it only says so.
need() {
    packages=
    for pair in "$@"; do
        has "${pair%%:*}" || packages="$packages ${pair#*:}"
    done
    [ -n "$packages" ] || return 0
    if [ "$(id -u)" -ne 0 ] || ! has apt-get; then
        say "missing:$packages (on Debian: apt-get install$packages); what needs them is skipped"
        return 0
    fi
    say "installing$packages"
    # A server package would start its server: not on a machine that only wants the program.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -qq update
    # shellcheck disable=SC2086  # the list is meant to be split
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y $packages >/dev/null
}

# Make the virtual environment if it is missing, and install the requirements of these extras if they changed.
make_venv() {
    venv=${VENV:-.venv}
    if [ ! -x "$venv/bin/python" ]; then
        python=$(find_python)
        say "making $venv with $("$python" --version)"
        if ! "$python" -m venv "$venv" >/dev/null 2>&1; then  # Debian's python3 alone cannot, and says so at length
            rm -rf "$venv"
            if [ "$(id -u)" -eq 0 ] && has apt-get; then
                say "installing python3-venv"
                DEBIAN_FRONTEND=noninteractive apt-get -qq update
                DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y python3-venv >/dev/null
                "$python" -m venv "$venv"
            else
                die "this Python has no venv module (on Debian: apt-get install python3-venv)"
            fi
        fi
    fi
    py=$venv/bin/python
    wanted=$("$py" tools/requirements.py "$@")
    stamp=$venv/installed-$(printf '%s' "$*" | tr ' ' '-')
    if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
        say "installing Python packages"
        printf '%s\n' "$wanted" >"$venv/wanted.txt"
        "$py" -m pip install --quiet --disable-pip-version-check -r "$venv/wanted.txt"
        printf '%s\n' "$wanted" >"$stamp"
    fi
}
