"""Plan a cluster: simulate developers who type against replicas, and say how many replicas they need."""
