#!/usr/bin/env bash
# torchrun on one node or several. What follows the script are the arguments of `python -m train`.
#
#   launch/torchrun.sh configs/quickstart.yaml                       one rank per GPU; without GPUs, one rank
#   NPROC_PER_NODE=2 launch/torchrun.sh configs/quickstart.yaml train.steps=100
#
# Two nodes, where every node is told its number (a static rendezvous); on the other one NODE_RANK=1:
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=node0 MASTER_PORT=29500 launch/torchrun.sh configs/quickstart.yaml
#
# Two nodes, where the nodes find each other (c10d); the same command on both:
#   NNODES=2 RDZV_BACKEND=c10d RDZV_ENDPOINT=node0:29500 RDZV_ID=job7 launch/torchrun.sh configs/quickstart.yaml
#
# Also read: PYTHON (python), OMP_NUM_THREADS (the cores, divided by the ranks), and torchrun's own PET_* variables.
# The exit code is that of the training: 75 says that it was asked to stop, has saved, and that this command goes on.
set -euo pipefail

gpus=$(nvidia-smi --list-gpus 2>/dev/null | grep -c ^GPU) || true
if [[ -n ${CUDA_VISIBLE_DEVICES+is_set} ]]; then gpus=$(tr , '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c .) || true; fi
ranks=${NPROC_PER_NODE:-${PET_NPROC_PER_NODE:-$((gpus > 0 ? gpus : 1))}}
if [[ $ranks =~ ^[0-9]+$ ]]; then
    threads=$(($(nproc) / ranks))
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((threads > 0 ? threads : 1))}
fi

# Unquoted, so that PYTHON may be a command with arguments, such as "apptainer exec --nv image.sif python".
exec ${PYTHON:-python} -m launch.agent --nproc-per-node "$ranks" \
    ${NNODES:+--nnodes "$NNODES"} ${NODE_RANK:+--node-rank "$NODE_RANK"} \
    ${MASTER_ADDR:+--master-addr "$MASTER_ADDR"} ${MASTER_PORT:+--master-port "$MASTER_PORT"} \
    ${RDZV_BACKEND:+--rdzv-backend "$RDZV_BACKEND"} ${RDZV_ENDPOINT:+--rdzv-endpoint "$RDZV_ENDPOINT"} \
    ${RDZV_ID:+--rdzv-id "$RDZV_ID"} -m train "$@"
