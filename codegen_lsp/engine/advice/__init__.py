"""Which model to take: what is known of the named ones, what this machine can do, and what fits it."""
