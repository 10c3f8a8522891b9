"""Paths of packets: observed by capture on every device, explained from the kernel's state, compared with documents."""
