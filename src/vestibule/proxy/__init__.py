"""The two sides of an exchange: client connections and upstream connections."""
