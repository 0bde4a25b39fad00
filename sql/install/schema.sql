-- The schema belongs to the extension and goes with it; one that is there already is somebody else's, and an error.

CREATE SCHEMA pgrelay;
COMMENT ON SCHEMA pgrelay IS 'Moves this database to another server: functions, and views that show how far it is.';
