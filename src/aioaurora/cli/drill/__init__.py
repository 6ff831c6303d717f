"""The drill: clients that write through failovers, and a judge who compares what they believe with what is stored."""
