# What the scripts of this folder share; sourced, not run.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
configuration=${REGWARD_CONFIGURATION:-debug}

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# The comment at a script's top is its help.
case ${1-} in
  -h | --help)
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit
    ;;
esac

# Installs the Debian packages that are missing; sudo only when not root.
install_packages() {
  local missing=() package
  for package; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  say "Installing ${missing[*]}"
  command -v apt-get >/dev/null || die "please install: ${missing[*]} (no apt-get here)"
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# What building and mounting need.
install_prerequisites() {
  command -v swift >/dev/null || die "no swift on the PATH: install Swift 6.3 (https://www.swift.org/install/linux)"
  install_packages libfuse3-dev fuse3 pkg-config "$@"
}

# Builds the given products, or everything, and shows how it goes.
build() {
  local product
  say "Building ($configuration)"
  if [ $# = 0 ]; then
    swift build --package-path "$root" -c "$configuration" >&2
  else
    for product; do swift build --package-path "$root" -c "$configuration" --product "$product" >&2; done
  fi
  bin=$(swift build --package-path "$root" -c "$configuration" --show-bin-path)
}

# What the checks in Tests/Mount call.
mount_check_packages=(
  attr ed emacs-nox gcc git libc6-dev moreutils nano patch perl procps python3 python3-jsonschema rsync strace tree util-linux vim-nox
)

# What Tests/Mount/check_fleet.py starts, privately: the services that these packages bring are not used.
fleet_check_packages=(
  redis-server redis-tools rsyslog rsyslog-elasticsearch rsyslog-hiredis rsyslog-kafka rsyslog-relp systemd
)

can_mount() { [ -r /dev/fuse ] && [ -w /dev/fuse ]; }

is_mounted() { awk -v mountpoint="$(printf '%s' "$1" | sed 's/ /\\040/g')" \
  '$5 == mountpoint { found = 1 } END { exit !found }' /proc/self/mountinfo; }

# The pid of the daemon whose command line ends with this mount point; nothing when there is none.
daemon_of() {
  local directory arguments
  for directory in /proc/[0-9]*; do
    { mapfile -d '' -t arguments < "$directory/cmdline"; } 2>/dev/null || continue
    [ "${#arguments[@]}" -gt 2 ] && [ "${arguments[1]}" = mount ] && [ "${arguments[-1]}" = "$1" ] || continue
    echo "${directory#/proc/}"
    return
  done
}

# Unmounts and waits until the daemon has gone: only then the hive is whole and free.
unmount() {
  local pid
  pid=$(daemon_of "$1")
  "$bin/regward" umount "$1"
  while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && [ "$(daemon_of "$1")" = "$pid" ]; do sleep 0.02; done
}
