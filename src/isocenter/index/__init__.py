"""What is known about instances: keys, the schema, searching and matching."""
