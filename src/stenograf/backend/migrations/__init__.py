"""Schema migrations, run by `Database.migrate` when the backend starts."""
