"""What aioaurora does: it waits, asks the core, and carries out what the core answers."""
