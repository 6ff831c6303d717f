"""Options from the environment, for what neither an argument nor a URL says.

    AIOAURORA_URL=mysql://app@orders.cluster-abc123.us-east-1.rds.amazonaws.com/shop
    AIOAURORA_PASSWORD=...
    AIOAURORA_MAXSIZE=20

    pool = await create_pool(**from_env(), minsize=2)

Every option that a text can express is a variable: its name in capitals, after a prefix.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, get_type_hints

from aioaurora._core.written import from_environment, from_url
from aioaurora.config import CHECKED_ALONE, KINDS, from_kwargs, said_by
from aioaurora.pool_config import PoolConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PREFIX = "AIOAURORA_"


def from_env(
    *args: Any, prefix: str | None = DEFAULT_PREFIX, environ: Mapping[str, str] | None = None, **options: Any
) -> dict[str, Any]:
    """Give keywords for `create_pool`: those that are passed here over those of a URL over those of the environment.

    A variable that is empty says nothing; "none" is None, where an option may be None. `AIOAURORA_URL` counts where no
    URL and no host is passed, and wins over the others. With `cluster=` only the options of a pool are read.

    A variable is refused if its name is nearly that of an option, or one that other drivers have, such as
    `AIOAURORA_SSL_CA`: whoever set it counts on it. All others are left alone, and not logged either, as they may well
    be somebody else's: for a service called aioaurora, Kubernetes sets `AIOAURORA_SERVICE_HOST` in every pod.

    Args:
        args: A URL, or aiomysql's positional arguments.
        prefix: What the variables' names begin with. None: none is read.
        environ: The variables; None: `os.environ`.
        options: As for `create_pool`.

    Raises:
        ConfigurationError: A variable cannot be read; says which one, and never repeats a secret.
    """
    of_pools = get_type_hints(PoolConfig)
    said = said_by(args, options, others=of_pools)
    if prefix is None:
        return said
    kinds: dict[str, Any] = {**KINDS, **of_pools}
    written = from_environment(os.environ if environ is None else environ, prefix, kinds, check=_check)
    url = written.pop("url", None)
    if url is not None and "host" not in said:
        written = _over(written, from_url(url, kinds))
    if said.get("cluster") is not None:  # It says how to connect.
        written = {name: value for name, value in written.items() if name in of_pools}
    return _over(written, said)


def _check(name: str, value: object) -> None:
    """Raise ConfigurationError if an option cannot have this value, whatever the others are."""
    if name in get_type_hints(PoolConfig):
        alone: dict[str, Any] = {"minsize": 0, "maxsize": 0, name: value}
        PoolConfig(**alone)
    elif name in CHECKED_ALONE:
        from_kwargs(**{"host": "127.0.0.1", name: value})


def _over(lower: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    below = dict(lower)
    if "credentials" in above:
        below.pop("password", None)
    if "host" in above:
        below.pop("port", None)  # It was that of another host.
    return {**below, **above}
