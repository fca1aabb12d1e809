"""Options of every audio transform. Free of heavy imports."""
