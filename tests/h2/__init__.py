"""HTTP/2 as a client meets it: raw frames in, frames out, through a connection of the proxy."""
