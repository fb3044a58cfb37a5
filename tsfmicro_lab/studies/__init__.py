"""Measurements that take long and are stored with what made them: each a command, a class of tables, a file."""
