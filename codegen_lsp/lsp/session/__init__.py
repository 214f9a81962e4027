"""One connected editor: its session, its status, and the server that handlers get."""
