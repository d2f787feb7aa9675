#!/bin/sh
# Installs the Debian packages that the named groups need, and only those that are missing; says
# nothing when there is nothing to do.
#   tools/install-packages.sh run     the broker and the client
#   tools/install-packages.sh test    what the tests and the demo use besides
#   tools/install-packages.sh fuzz    what fuzzing uses besides: the sanitizers of Debian's clang
set -eu

run="nftables clang llvm bpftool libbpf-dev libbpf1 libc6-dev iproute2 procps"
test="conntrack iputils-ping curl ethtool tcpdump openssl chromium fonts-noto-core"

fuzz="libclang-rt-$(clang -dumpversion 2>/dev/null | cut -d. -f1)-dev"

wanted=""
for group in "$@"; do
  case $group in
    run) wanted="$wanted $run" ;;
    test) wanted="$wanted $test" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    *) echo "install-packages: no group '$group'" >&2; exit 2 ;;
  esac
done

# Any Node with npm will do to install the pinned one; a machine with neither gets Debian's.
command -v npm >/dev/null 2>&1 || wanted="$wanted nodejs npm"

missing=""
for package in $wanted; do
  case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true) in
    *"install ok installed"*) ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "These Debian packages are missing; install them as root:" >&2
  echo "  apt-get install$missing" >&2
  exit 1
fi
echo "Installing Debian packages:$missing"
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -q && apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1; then
  cat "$log" >&2
  exit 1
fi
rm -f "$log"
