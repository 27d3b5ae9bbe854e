#!/usr/bin/env bash
# require_packages.sh PACKAGE ... : Debian packages that must be there. Missing ones are installed as root; anyone else
# is told which they are.
set -euo pipefail
missing=()
for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "setup: these packages are missing: ${missing[*]}" >&2
    echo "setup: install them (on Debian, as root: apt-get install ${missing[*]}), then run make again." >&2
    exit 1
fi
echo "setup: installing Debian packages ${missing[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
