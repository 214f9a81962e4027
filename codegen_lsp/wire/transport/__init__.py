"""How the client of an engine speaks HTTP: connections, answers of bounded size, what a server refuses."""
