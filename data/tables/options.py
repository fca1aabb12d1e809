"""Options of every table transform. Free of heavy imports."""
