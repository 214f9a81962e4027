"""What names mean in a workspace: what each module writes of its names, and what they come to together."""
