"""What users can set: the options, the types of their values, and the texts that document them."""
