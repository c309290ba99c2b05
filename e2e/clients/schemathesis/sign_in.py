"""Registers a customer of core and prints the token of a session. Usage: sign_in.py CORE_URL"""

import json
import secrets
import sys
import urllib.request


def post(path, body):
    request = urllib.request.Request(
        sys.argv[1] + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


customer = {"email": f"{secrets.token_hex(8)}@example.org", "password": secrets.token_hex(16)}
post("/v1/register", customer | {"display_name": "Schemathesis"})
print(post("/v1/login", customer)["token"])
