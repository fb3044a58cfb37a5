"""Commands of the command line that want a file of their own."""
