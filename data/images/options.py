"""Options of every image transform. Free of heavy imports."""
