#!/usr/bin/env bash
# What the ClickHouse sink costs the collector: deploy/testbed/clickhouse deploy/bench/clickhouse-sink.sh path/to/faultline [seconds]
# Sends 100,000 log records a second twice, without and with the sink, waits until all of them are in Parquet and in ClickHouse,
# and prints the CPU of the collector over that time as cores: what it took, divided by the seconds of sending.
set -euo pipefail
faultline=$(realpath "$1")
seconds=${2:-30}
rate=${RATE:-100000}
offset=${PORT_OFFSET:-21000}
: "${FAULTLINE_TEST_CLICKHOUSE_URL:?run this by deploy/testbed/clickhouse}"

# Sealed, compacted and taken by every sink, or not.
settled() {
    curl -sf "http://127.0.0.1:$((4318 + offset))/health" | python3 -c '
import json, sys
health = json.load(sys.stdin)
behind = sum(sink["lag"]["rows"] for sink in health["sinks"])
sys.exit(behind > 0 or health["store"]["log_bytes"] > 1 << 20)'
}

for sink in none clickhouse; do
    work=$(mktemp -d)
    settings=()
    [ $sink = none ] || settings=(--clickhouse-url "$FAULTLINE_TEST_CLICKHOUSE_URL" --clickhouse-database "bench_$$")
    "$faultline" collector --data-dir "$work/data" --port-offset "$offset" "${settings[@]}" >"$work/log" 2>&1 &
    collector=$!
    # shellcheck disable=SC2064
    trap "kill $collector 2>/dev/null || true; rm -rf '$work'" EXIT
    timeout 30 bash -c "until (: </dev/tcp/127.0.0.1/$((4317 + offset))) 2>/dev/null; do :; done" || { cat "$work/log"; exit 1; }
    ticks() { awk '{ print $14 + $15 }' "/proc/$collector/stat"; }
    before=$(ticks)
    echo "== sink: $sink"
    "$faultline" bench ingest --endpoint "http://127.0.0.1:$((4317 + offset))" --signal logs --rate "$rate" \
        --seconds "$seconds" --batch 8192 --connections 4
    until settled; do sleep 0.5; done
    awk -v ticks=$(($(ticks) - before)) -v hz="$(getconf CLK_TCK)" -v seconds="$seconds" \
        'BEGIN { printf "collector: %.3f cores\n", ticks / hz / seconds }'
    grep VmHWM "/proc/$collector/status"
    kill "$collector"
    wait "$collector" || true
    rm -rf "$work"
done
