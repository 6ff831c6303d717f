r"""SQLAlchemy over a cluster: `create_async_engine("mysql+aioaurora://...")`, and nothing stale from its pool.

    engine --checkout--> SQLAlchemy's pool --idle connection--> fit? --yes--> handed out
                                 \--none idle                    \--no--> closed
                                  +--------- Cluster.connect <------------+

Each engine has one Cluster for each event loop that it is used on. It follows the cluster, so that a look in memory
tells whether a pooled connection still leads to who it is meant for; `engine.dispose()` closes it.
"""

from __future__ import annotations

from aioaurora.sqlalchemy._dialect import AuroraDialect, MariaDBAuroraDialect, cluster_of
from aioaurora.sqlalchemy._units import run_in_transaction

__all__ = ["AuroraDialect", "MariaDBAuroraDialect", "cluster_of", "run_in_transaction"]
