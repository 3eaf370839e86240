"""The audit, proven and handed out: chains are read, verified, anchored outside the database, exported."""
