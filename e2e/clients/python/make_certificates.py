"""A root, and a certificate for each side that it signed: root.pem, server.pem, server.key, client.pem, client.key.

Usage: make_certificates.py FOLDER
"""

import pathlib
import sys

import trustme

folder = pathlib.Path(sys.argv[1])
authority = trustme.CA()
authority.cert_pem.write_to_path(folder / "root.pem")
for name in ("server", "client"):
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / f"{name}.key")
    certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
