#!/bin/sh
# Installs a PostgreSQL server from the packages of Debian or Ubuntu, unless there is one already.
set -eu
for program in "$(command -v initdb || true)" /usr/lib/postgresql/*/bin/initdb; do
  if [ -x "$program" ]; then
    exit 0
  fi
done
if [ "$(id -u)" -ne 0 ]; then
  echo "PostgreSQL is not installed; run as root: sh $0" >&2
  exit 1
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends postgresql
