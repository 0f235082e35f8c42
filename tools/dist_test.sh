#!/usr/bin/env bash
# Evaluate on several processes, see dist.sh: dist_test.sh CONFIG CHECKPOINT PROCESSES [options of kd_plugins test]
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT PROCESSES [options of kd_plugins test]" >&2
    exit 2
fi
exec bash "$(dirname "$0")/dist.sh" "$3" test "$1" "$2" "${@:4}"
