"""River's database schema: its migrations, and a check that a database has them."""
