"""The session that the monitor asks on."""

from __future__ import annotations

from aioaurora._io.dialer import Dialer, Place
from aioaurora.config import from_kwargs
from aioaurora.credentials import Credentials


async def test_password_is_encrypted_for_the_key_that_was_given_here_too():
    """Else it would be for whatever key a man in the middle sends, and an application's session was no use."""
    config = from_kwargs(host="db", auth_plugin="caching_sha2_password", server_public_key=b"PEM")
    credentials = Credentials(user="app", password="hush")

    session = Dialer(config, None, None).bare(place=Place("db", 3306), address="10.0.0.1", credentials=credentials)

    assert session.server_public_key == b"PEM"
