DROP TABLE /* SCHEMA */river_migration;
