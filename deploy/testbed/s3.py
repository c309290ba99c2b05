"""An S3 server for tests only, with one bucket. Prints its address and serves until it is stopped."""

import logging
import sys
import threading

import boto3
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
host, port = server.get_host_and_port()
boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket=sys.argv[1])
print(f"http://{host}:{port}", flush=True)
threading.Event().wait()
