"""Measurements that take long: each a script, a class of tables, and a file in `results` that says what made it."""
