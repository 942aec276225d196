"""The settings of TLS on the gateway's port."""

import msgspec

from gateway.configuration.value_types import OptionalSecret, Secret, Text, yaml_key


class TlsSettings(msgspec.Struct, frozen=True, kw_only=True, rename=yaml_key):
    """PEM files, which are read again whenever they change."""

    certificate: Text
    """The path of the certificate chain: the server's own certificate first, then the intermediate ones."""
    key: Text
    """The path of the certificate's private key."""
    client_ca: Text | None = None
    """The path of the authorities whose certificates clients must present. By default clients need none."""
    key_passphrase: OptionalSecret = Secret("")
    """The passphrase of an encrypted private key."""
