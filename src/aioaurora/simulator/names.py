"""The names of a simulated cluster, with the labels that RDS gives them."""

from __future__ import annotations

from dataclasses import dataclass

PLAIN_SUFFIX, TLS_SUFFIX = "us-east-1.aurora.test", "us-east-1.rds.amazonaws.com"
_HASH = "abc123"


@dataclass(frozen=True, slots=True)
class Names:
    """Endpoints of the cluster `name`; names under rds.amazonaws.com are never spoken to in the clear."""

    name: str
    suffix: str = PLAIN_SUFFIX

    @property
    def cluster(self) -> str:
        """The cluster endpoint, which leads to the writer."""
        return f"{self.name}.cluster-{_HASH}.{self.suffix}"

    @property
    def reader(self) -> str:
        """The reader endpoint."""
        return f"{self.name}.cluster-ro-{_HASH}.{self.suffix}"

    @property
    def pattern(self) -> str:
        """The instance endpoints, with `{id}` for the instance's id."""
        return self.instance("{id}")

    @property
    def shared(self) -> tuple[str, ...]:
        """The names that may lead to any instance, as certificates have them."""
        return self.cluster, self.reader, self.custom("*")

    def instance(self, label: str) -> str:
        """One instance's endpoint."""
        return f"{label}.{_HASH}.{self.suffix}"

    def custom(self, name: str) -> str:
        """A custom endpoint."""
        return f"{name}.cluster-custom-{_HASH}.{self.suffix}"
