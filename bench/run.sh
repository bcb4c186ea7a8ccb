#!/usr/bin/env bash
# Measures what an event costs weir, the Kafka library alone (franz-go) and kcat, on
# the same broker with the same events, in one run and in turns, and prints a
# Markdown table of medians: CPU time per event, events per second, ratios.
#
#   bench/run.sh [flags of the benchmark, e.g. -rounds 3 -events 100000 -only count]
#   bench/run.sh apache [flags]     on three Apache Kafka brokers (`weir cluster --engine
#                                   apache`), beside programs of the kind that such
#                                   pipelines begin with (bench/scripts.py); events per
#                                   second, because there the brokers are the cost
#   bench/run.sh cost [flags]       what grows with partitions, with the size of events, and
#                                   with the length of the log, and whether in a straight
#                                   line. The log of 50,000,000 records takes about 12 GB
#                                   of TMPDIR and its time; -records 1000000,10000000
#                                   leaves it out, -cost sizes measures one part,
#                                   -plot FILE draws
#
# CPU time is the client process's own, user and system, as the kernel counts it; the
# broker runs in another process. It stays meaningful on a busy machine, unlike
# events per second. -profile DIR keeps a CPU profile of each measurement.
#
#   WEIR_BENCH_KAFKA=host:port    an existing cluster instead of `weir cluster`. It must
#                                 not be one that weir uses: the topics bench-* and
#                                 weir.cursors are made and deleted.
#   WEIR_BENCH_REDIS=redis://...  a Redis to count with, where the cluster is not weir's
#   TMPDIR                        where events and data lie, about 5 kB for each event
#
#   WEIR_BENCH_PYTHON=PYTHON      a Python with interop/clients/requirements.txt for the
#                                 scripts; else one is made (needs Python and PyPI)
#
# Needs Go, and for apache what weir's engine needs (Java, Maven); kcat is measured when
# it is installed. Takes about a minute a round.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d "${TMPDIR:-/tmp}/weir-bench.XXXXXX")
trap 'rm -rf "$dir"' EXIT

go build -o "$dir/weir" ./cmd/weir
go build -o "$dir/bench" ./bench
# weir refuses variables that it does not know.
kafka=${WEIR_BENCH_KAFKA:-} redis=${WEIR_BENCH_REDIS:-} python=${WEIR_BENCH_PYTHON:-}
unset WEIR_BENCH_KAFKA WEIR_BENCH_REDIS WEIR_BENCH_PYTHON
engine=()
if [ "${1:-}" = apache ]; then
  shift
  if [ -z "$python" ]; then
    python3 -m venv "$dir/venv" && "$dir/venv/bin/pip" install -q -r interop/clients/requirements.txt
    python=$dir/venv/bin/python
  fi
  engine=(-engine apache -events 1200000 -python "$python" -script bench/scripts.py)
fi
if [ "${1:-}" = cost ]; then
  shift
  engine=(-cost all -rounds 3)
fi
"$dir/bench" -dir "$dir" -weir "$dir/weir" -kafka "$kafka" -redis "$redis" "${engine[@]}" "$@"
