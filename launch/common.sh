# Shell functions shared by the launch scripts; sourced by them, not run.
#
# After `source launch/common.sh`: $root is the repository, $venv its virtual
# environment, and `install_vidx [EXTRAS]` makes the environment ready.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="$root/.venv"

# Compiled XLA programs are kept here, so that only the first run compiles them.
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/vidx/xla}"
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="${JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS:-0}"

say() { printf '\n== %s\n' "$*"; }

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 2
}

# Prints the first Python that is new enough: $PYTHON if set, else from the PATH.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

make_venv() {
  local python
  if "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    return
  fi
  python="$(find_python)" || fail "Python 3.11 or later is needed, and ${PYTHON:-python3} is $(
    "${PYTHON:-python3}" --version 2>&1 | tail -n 1); install it, or name another: PYTHON=/path/to/python3.12 bash $0"
  say "making $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv" || fail "$python cannot make a virtual environment;" \
    "on Debian and Ubuntu: apt-get install python3-venv"
}

# install_vidx [EXTRAS]: vidx and its dependencies, editable; EXTRAS such as "tests,beam".
# Does nothing where the same was installed from the same setup.cfg before.
install_vidx() {
  local extras="${1:-}" stamp want
  make_venv
  stamp="$venv/installed-${extras:-base}"
  want="$root $(cat "$root/setup.cfg" "$root/pyproject.toml" | "$venv/bin/python" -c \
    'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest(), sys.version)')"
  if [[ "$(cat "$stamp" 2>/dev/null)" == "$want" ]]; then
    say "vidx${extras:+[$extras]} is installed in $venv"
    return
  fi
  say "installing vidx${extras:+[$extras]} into $venv (once; a few minutes)"
  "$venv/bin/python" -m pip install -qq --disable-pip-version-check --editable "$root${extras:+[$extras]}" ||
    fail "the installation failed; the lines above say why. Run the same command again to go on."
  printf '%s\n' "$want" > "$stamp"
}
