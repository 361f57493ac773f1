"""A certificate for the load balancer, from an authority that only this rehearsal trusts."""

import ssl
from pathlib import Path

import trustme

from rehearsal.aws_clients import AwsClients


class Certificate:
    """For the load balancer's address; imported into ACM, as an operator may."""

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
