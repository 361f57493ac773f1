"""The load balancer's TLS certificate, issued by an authority that only the rehearsal trusts."""

import ssl
from pathlib import Path

import trustme

from rehearsal.aws_clients import AwsClients


class Certificate:
    """A certificate for `address`, imported into ACM as an operator would do it.

    `ca_file` is the authority's certificate in `folder`, for clients.
    """

    def __init__(self, *, address: str, clients: AwsClients, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert(address)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issued.configure_cert(self.context)
        self.ca_file = str(folder / "authority.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        self.arn = clients.acm.import_certificate(
            Certificate=issued.cert_chain_pems[0].bytes(),
            PrivateKey=issued.private_key_pem.bytes(),
            CertificateChain=authority.cert_pem.bytes(),
        )["CertificateArn"]
