"""Makes `tests.io.cancel` and its like importable under one name, whatever else is installed."""
