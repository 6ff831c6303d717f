"""The asyncio smart driver for Amazon Aurora MySQL."""

__version__ = "0.1.0"
