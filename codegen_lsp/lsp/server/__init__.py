"""What makes pygls fast and strict: transport, protocol, handshake, documents, progress."""
