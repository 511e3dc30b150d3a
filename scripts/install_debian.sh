#!/usr/bin/env bash
# Install Debian packages without letting the services in them start.
#
#   bash scripts/install_debian.sh PACKAGE...
set -euo pipefail

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "expected root on Debian or Ubuntu to install $*; install them yourself, or run: sudo bash $0 $*" >&2
    exit 1
fi
policy=/usr/sbin/policy-rc.d # asked before a package starts its service; Orthanc's listens on all interfaces
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
