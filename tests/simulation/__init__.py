"""A whole cluster in one thread: the real brokers on a simulated machine, network and clock, driven by one seed."""
