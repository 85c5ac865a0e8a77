#!/usr/bin/env bash
# Runs what only a machine with an NVIDIA GPU can: what it is and does, the tests that want a GPU, and every
# CUDA backend on real models: hours. Logs, results and reports land in FOLDER (default: results/gpu).
#
#   tests/gpu.sh [FOLDER]        BENCH_PYTHON=python3 tests/gpu.sh   with that Python as it is, not .venv
#
# Exits with 2 where there is no GPU, with 1 where a test or a stage failed.
set -euo pipefail

if ! { nvidia-smi -L 2>/dev/null || true; } | grep -q '^GPU '; then
  echo "tests/gpu.sh: no NVIDIA GPU was found: nvidia-smi lists none" >&2
  exit 2
fi

folder=$(realpath -m "${1:-results/gpu}")
cd "$(dirname "$0")/.."
mkdir -p "$folder"

python=${BENCH_PYTHON:-}
if [[ -z $python ]]; then
  make .venv/.installed-dev
  python=.venv/bin/python
  "$python" -c "import tensorrt" 2>/dev/null || "$python" -m pip install --quiet tensorrt ||
    echo "tests/gpu.sh: tensorrt could not be installed; its cells will be skipped" >&2
fi
if ! "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
  echo "tests/gpu.sh: PyTorch sees no GPU; $python may have its CPU build" >&2
  exit 2
fi

status=0
logged() { # LOG COMMAND...: run it, show it and keep what it said; go on where it fails
  echo "== ${*:2}"
  "${@:2}" 2>&1 | tee "$folder/$1" || status=1
}

cat >"$folder/gpu.toml" <<'MATRIX'
about = "Every CUDA backend on models of several kinds, in every precision that it has"

[train]
workload = [
  "fashion-mnist-simplecnn",
  "fashion-mnist-resnet18",
  "rotten-tomatoes-textcnn",
  "wordnet-supersense-transformer",
]
optimizer = "adam"
backend = "cuda-eager"

[infer]
compression = ["none", "int8-dynamic", "int8-static", "int8-weight", "int4-weight", "fp8", "prune-2-4+sparse-2-4"]
backend = ["cuda-eager", "cuda-inductor", "cuda-graphs", "tensorrt"]
precision = ["fp32", "tf32", "bf16", "fp16"]
batch_size = [1, 32]

[budget]
max_launches = 6

[fallback]
fashion-mnist-simplecnn = "digits"

[[exclude]]
compression = ["int8-dynamic", "int8-static", "fp8"]
precision = ["tf32", "bf16", "fp16"]

[[exclude]]
compression = ["int8-weight", "int4-weight"]
precision = ["tf32", "fp16"]

[[exclude]]
compression = "prune-2-4+sparse-2-4"
precision = ["fp32", "tf32"]
MATRIX

cat >"$folder/gpu-training.toml" <<'MATRIX'
about = "Both CUDA backends that train, in every precision"

[train]
workload = ["fashion-mnist-simplecnn", "wordnet-supersense-transformer"]
optimizer = "adam"
backend = ["cuda-eager", "cuda-inductor"]
precision = ["fp32", "tf32", "bf16", "fp16"]

[infer]
compression = "none"
backend = "cuda-eager"
batch_size = 32

[budget]
max_launches = 6

[fallback]
fashion-mnist-simplecnn = "digits"
MATRIX

cat >"$folder/gpu-devices.toml" <<'MATRIX'
about = "One GPU and two, in every way that several train; skipped where there is one"

[train]
workload = ["fashion-mnist-simplecnn", "fashion-mnist-vit"]
optimizer = "adam"
backend = "cuda-eager"
devices = [1, 2]
parallel = ["ddp", "fsdp", "tp"]

[budget]
max_launches = 6

[fallback]
fashion-mnist-simplecnn = "digits"
MATRIX

cat >"$folder/gpu-generation.toml" <<'MATRIX'
about = "PyTorch on the GPU, eager and compiled, and vLLM where it is installed, continue texts"

[train]
workload = ["shakespeare-llama", "shakespeare-llama-22m"]
optimizer = "tuned"
backend = "cuda-eager"

[infer]
compression = "none"
backend = ["cuda-eager", "cuda-inductor-decoder", "vllm"]
precision = ["fp32", "bf16"]

[generation]
texts = [1, 8, 32]
prompt_tokens = [32, 128]
new_tokens = [64]
caches = ["int8", "fp8"]
drafts = ["shakespeare-llama"]

[generation.requests]
rates_per_s = [10.0, 40.0]
ttft_ms = 100.0
tpot_ms = 10.0

[budget]
max_launches = 6
MATRIX

logged machine.txt "$python" -m bench machine
logged doctor.txt "$python" -m bench doctor
# Slow ones too, which the default suite leaves out.
logged tests.txt "$python" -m pytest -rs -m "slow or not slow" tests/techniques tests/truth \
  -k "cuda or gpu or nccl or vllm or tensorrt or board or accelerator or ceiling"
for matrix in gpu gpu-training gpu-devices gpu-generation; do
  logged "$matrix.txt" "$python" -m bench run --matrix "$folder/$matrix.toml" --results "$folder/results"
done
exit "$status"
