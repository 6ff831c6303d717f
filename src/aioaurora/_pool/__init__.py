"""How a pool works inside: its hands, its keeping, its leases."""
