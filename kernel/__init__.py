"""Linux as podpath uses it: wanted-state types, the netlink engine, and the three places to run."""
