"""Run many engines behind Ray Serve, on this machine or on a cluster, and plan how many a team needs."""
