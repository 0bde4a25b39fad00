-- Roles are of the cluster, not of the database: made when missing, and left when the extension is dropped.

DO $$
DECLARE
    missing name;
BEGIN
    FOREACH missing IN ARRAY ARRAY['pgrelay_admin', 'pgrelay_monitor', 'pgrelay_applier'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = missing) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', missing);
        END IF;
    END LOOP;
END
$$;

COMMENT ON ROLE pgrelay_admin IS 'May create, start and change pgrelay tasks.';
COMMENT ON ROLE pgrelay_monitor IS 'May read the views of pgrelay.';
COMMENT ON ROLE pgrelay_applier IS 'What the applier''s role needs on the tables of pgrelay.';
GRANT pgrelay_monitor TO pgrelay_admin;
