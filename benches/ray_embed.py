"""Embeds a folder on a cluster of Ray that is started for it on this machine: nodes of one processor, a worker on each.

    python benches/ray_embed.py MODEL_DIR PHOTOS OUT --nodes N

Prints seconds of the whole call, and images a second from the first file of embeddings that was written to the last: without what
workers take to start.
"""

import argparse
import os
import pathlib
import shutil
import tempfile
import time

# Below it Ray keeps its files; sockets have short paths.
folder = tempfile.TemporaryDirectory(prefix="skf-", dir="/tmp", ignore_cleanup_errors=True)
os.environ.update({"RAY_TMPDIR": folder.name, "HOME": folder.name, "RAY_USAGE_STATS_ENABLED": "0"})

import pyarrow.parquet as pq
import ray
import sketchfind.ray
from ray.cluster_utils import Cluster

parser = argparse.ArgumentParser()
for name in ("model", "photos", "out"):
    parser.add_argument(name, type=pathlib.Path)
parser.add_argument("--nodes", type=int, required=True)
asked = parser.parse_args()
shutil.rmtree(asked.out, ignore_errors=True)

# What is 127.0.0.1 Ray takes for an address that others cannot reach.
alike = {"node_ip_address": "127.0.0.2", "object_store_memory": 512 << 20}
cluster = Cluster(initialize_head=True, head_node_args={**alike, "num_cpus": 0, "include_dashboard": False})
for _ in range(asked.nodes):
    cluster.add_node(num_cpus=1, **alike)
cluster.wait_for_nodes()
ray.init(address=cluster.address, logging_level="warning", log_to_driver=False)
ray.data.DataContext.get_current().enable_progress_bars = False
try:
    began = time.monotonic()
    done = sketchfind.ray.embed(sketchfind.ray.photos(asked.photos), asked.out, model=asked.model, every=0)
    seconds = time.monotonic() - began
finally:
    ray.shutdown()
    cluster.shutdown()
    folder.cleanup()
files = sorted((path.stat().st_mtime, pq.read_metadata(path).num_rows) for path in asked.out.glob("*.parquet"))
steady = sum(rows for _, rows in files[1:]) / (files[-1][0] - files[0][0])
print(seconds, steady, done.n_photos - done.n_failed)
