"""Many requests from a file: read, checked before anything is paid, run, saved, and told line by line."""
