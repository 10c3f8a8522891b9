"""Real FRR: configuration from a model, the daemons' life, and what they know, as vtysh JSON."""
