"""Find, plan, place and synthesize checkpoints."""
