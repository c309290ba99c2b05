#!/usr/bin/env bash
# The ingest figures of BENCHMARKS.md: deploy/bench/ingest.sh path/to/faultline [seconds]
# Starts a collector and a query node on a fresh folder, sends each signal as fast as it is accepted, asks SQL what arrived.
set -euo pipefail
faultline=$(realpath "$1")
seconds=${2:-20}
offset=${PORT_OFFSET:-20000}
work=$(mktemp -d)
parts=()
cleanup() {
    for pid in "${parts[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${parts[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT

for part in collector query; do
    "$faultline" "$part" --data-dir "$work/data" --port-offset "$offset" >"$work/$part.log" 2>&1 &
    parts+=($!)
done
for port in 4317 4318 7317; do
    timeout 30 bash -c "until (: </dev/tcp/127.0.0.1/$((port + offset))) 2>/dev/null; do :; done" || { cat "$work"/*.log; exit 1; }
done
for signal in traces logs metrics; do
    echo "== $signal"
    "$faultline" bench ingest --endpoint "http://127.0.0.1:$((4317 + offset))" \
        --query-url "http://127.0.0.1:$((7317 + offset))" --signal "$signal" --rate max --seconds "$seconds" --batch 1000 \
        --connections 4 --pid "${parts[0]}" --verify
done
grep -E 'VmHWM|VmRSS' "/proc/${parts[0]}/status"
du -sh "$work/data"
