#!/usr/bin/env bash
# Run a subcommand of kd_plugins on several processes: dist.sh PROCESSES train|test ARGUMENTS
# NNODES, NODE_RANK, MASTER_ADDR and PORT describe the machines. Without an accelerator the ranks talk over gloo.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 PROCESSES train|test ARGUMENTS" >&2
    exit 2
fi
PROCESSES=$1
shift
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$PROCESSES" \
    -m kd_plugins "$@" --launcher pytorch
