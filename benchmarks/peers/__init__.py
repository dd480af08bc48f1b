"""Programs that train the reference network, each in a process of its own; they compare nothing."""
