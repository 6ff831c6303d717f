"""A simulated cluster as a process: lines to copy for connecting, commands on standard input, a timeline on output."""
