"""Options of every command: the Python API, the command line and the page are made from them."""
