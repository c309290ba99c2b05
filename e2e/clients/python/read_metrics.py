"""Prometheus' own parser reads what the collector says of itself, after send_and_find.py has sent something.

Usage: read_metrics.py METRICS_URL
"""

import sys
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

with urllib.request.urlopen(sys.argv[1], timeout=30) as response:
    families = list(text_string_to_metric_families(response.read().decode()))
for family in families:
    if family.type not in ("counter", "gauge") or not family.documentation or not family.samples:
        sys.exit(f"{family} says too little")
queues = {part: {sample.labels["queue"] for family in families if family.name == f"faultline_collector_queue_{part}" for sample in family.samples} for part in ("length", "capacity", "refused")}
if not queues["length"] or len(set(map(frozenset, queues.values()))) != 1:
    sys.exit(f"a queue lacks one of its three: {queues}")
accepted = sum(sample.value for family in families for sample in family.samples if family.name == "faultline_collector_items" and sample.labels["outcome"] == "accepted")
if accepted == 0:
    sys.exit("nothing was accepted")
print(f"ok: {len(families)} families, {len(queues['length'])} queues, {accepted:.0f} items accepted")
