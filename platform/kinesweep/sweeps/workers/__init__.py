"""Workers of a sweep: warm worker slots and the Ray Tune trainable that leases them."""
