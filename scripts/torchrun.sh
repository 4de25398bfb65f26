#!/usr/bin/env bash
# Train on several nodes without a scheduler. The same command on each, in any order:
#   scripts/torchrun.sh NODES HOST:PORT RECIPE [KEY=VALUE]...
# HOST:PORT is a free port of one of the nodes, where they meet and learn their ranks. PROCESSES of each node: one a GPU,
# unless it is set. RESTARTS is how often a run whose process died begins again, from the newest whole checkpoint.
set -euo pipefail
# SIGUSR1 is handed on, too, and the processes have longer than torchrun's 30 seconds to save before it kills them.
export PET_SIGNALS_TO_HANDLE=${PET_SIGNALS_TO_HANDLE:-SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1}
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-150}
nodes=$1 meeting=$2
shift 2
exec python -m torch.distributed.run --nnodes "$nodes" --nproc-per-node "${PROCESSES:-gpu}" \
    --rdzv-backend c10d --rdzv-endpoint "$meeting" --rdzv-id "${RUN:-alignkit}" --max-restarts "${RESTARTS:-0}" \
    "$(dirname "$0")/train.py" "$@" --resume auto
