DO $body$
BEGIN
    IF to_regclass('/* SCHEMA */river_migration') IS NOT NULL THEN
        IF EXISTS (SELECT FROM /* SCHEMA */river_migration WHERE line <> 'main') THEN
            RAISE EXCEPTION 'version 5 cannot be reverted: river_migration holds lines other than main';
        END IF;
        ALTER TABLE /* SCHEMA */river_migration RENAME TO river_migration_old;
        CREATE TABLE /* SCHEMA */river_migration (
            id bigserial PRIMARY KEY,
            created_at timestamptz NOT NULL DEFAULT now(),
            version bigint NOT NULL,
            CONSTRAINT version CHECK (version >= 1)
        );
        CREATE UNIQUE INDEX ON /* SCHEMA */river_migration (version);
        INSERT INTO /* SCHEMA */river_migration (created_at, version)
        SELECT created_at, version FROM /* SCHEMA */river_migration_old;
        DROP TABLE /* SCHEMA */river_migration_old;
    END IF;
END;
$body$;
ALTER TABLE /* SCHEMA */river_job DROP COLUMN unique_key;
DROP TABLE /* SCHEMA */river_client_queue;
DROP TABLE /* SCHEMA */river_client;
