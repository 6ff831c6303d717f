"""What aioaurora decides: values and plain functions, without waiting, clocks or chance."""
