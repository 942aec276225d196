"""The settings of TLS on the gateway's port."""

import msgspec

from gateway.configuration.value_types import OptionalSecret, Secret, Text, yaml_key


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """Paths of PEM files, which are read again when they change."""

    certificate: Text  # the server's certificate, then the intermediate ones
    key: Text
    client_ca: Text | None = None  # if set, clients must present a certificate that one of these authorities has issued
    key_passphrase: OptionalSecret = Secret("")  # of an encrypted key
