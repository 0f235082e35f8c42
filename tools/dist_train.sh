#!/usr/bin/env bash
# Train on several processes, see dist.sh: dist_train.sh CONFIG PROCESSES [options of kd_plugins train]
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG PROCESSES [options of kd_plugins train]" >&2
    exit 2
fi
exec bash "$(dirname "$0")/dist.sh" "$2" train "$1" "${@:3}"
