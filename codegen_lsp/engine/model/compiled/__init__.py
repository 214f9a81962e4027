"""CodeGen's forward pass over few tokens, compiled."""
