"""The database port, the engines behind it, migrations and named queries."""
