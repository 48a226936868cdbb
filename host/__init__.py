"""The daemon and everything that touches a device, a clock, a file or a network."""
