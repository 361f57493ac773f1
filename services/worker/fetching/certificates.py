"""Why a server's certificate is not accepted, in sentences for the client."""

import ssl
from collections.abc import Mapping

from services.common.errors import SourceCertificateInvalid, SourceError, SourceUnreachable

_NOT_YET_VALID = 9

_REASONS: Mapping[int, str] = {
    10: "The certificate of the image's server has expired.",
    18: "The image's server has a self-signed certificate, which no public authority confirms.",
    19: "The certificate of the image's server comes from an authority that is not public.",
    20: (
        "The certificate chain of the image's server is incomplete. The server must also send the "
        "intermediate certificates of a public authority."
    ),
    62: "The certificate of the image's server is for another host name.",
    64: "The certificate of the image's server is for another IP address.",
    66: "The certificate of the image's server has a key that is too weak.",
    67: "An authority in the certificate chain of the image's server has a key that is too weak.",
    68: "The certificate chain of the image's server has a signature that is too weak.",
}
"""By OpenSSL's ``X509_V_ERR`` codes. Source: "X509_STORE_CTX_get_error", OpenSSL manual."""


def certificate_error(error: ssl.SSLCertVerificationError) -> SourceError:
    """The error of the attempt.

    Only the certificate's operator can help, so the task fails at once. A certificate that is not
    valid yet becomes valid by itself, and a clock may be wrong, so that is retried.
    """
    if error.verify_code == _NOT_YET_VALID:
        return SourceUnreachable("The certificate of the image's server is not valid yet.")
    return SourceCertificateInvalid(
        _REASONS.get(error.verify_code, "The image's server has no valid certificate.")
    )
