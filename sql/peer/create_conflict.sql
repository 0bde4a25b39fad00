-- Conflicts of the tasks that write to this database, beside create.sql: written in the transaction that resolved them, with
-- add_conflicts.sql, and carried from here to the database that the task was made in.

CREATE TABLE IF NOT EXISTS pgrelay_peer.conflict (
    ordinal bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
    task_key text NOT NULL REFERENCES pgrelay_peer.task ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('forward', 'reverse')),
    detected_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    schema_name text NOT NULL,
    table_name text NOT NULL,
    operation text NOT NULL CHECK (operation IN ('insert', 'update', 'delete', 'truncate')),
    kind text CHECK (kind IN ('insert_exists', 'update_exists', 'update_missing', 'update_origin_differs', 'delete_missing',
        'delete_origin_differs', 'multiple_unique_conflicts')),
    constraints text[] NOT NULL,
    policy text CHECK (policy IN ('fail', 'ignore', 'overwrite', 'latest_wins', 'source_priority')),
    resolution text NOT NULL CHECK (resolution IN ('applied', 'overwritten', 'ignored', 'failed', 'skipped')),
    source_xid xid8 NOT NULL,
    source_commit_lsn pg_lsn NOT NULL,
    source_commit_ts timestamptz NOT NULL,
    change_no bigint NOT NULL,
    key jsonb,
    incoming_old jsonb,
    incoming_new jsonb,
    peer_rows jsonb NOT NULL,
    result_row jsonb,
    peer_origins text[] NOT NULL,
    peer_commit_ts timestamptz[] NOT NULL,
    note text
);
CREATE TABLE IF NOT EXISTS pgrelay_peer.tombstone (
    task_key text NOT NULL REFERENCES pgrelay_peer.task ON DELETE CASCADE,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    key jsonb NOT NULL,
    commit_lsn pg_lsn NOT NULL,
    deleted_at timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS tombstone_table ON pgrelay_peer.tombstone (task_key, schema_name, table_name);
CREATE INDEX IF NOT EXISTS tombstone_age ON pgrelay_peer.tombstone (task_key, commit_lsn);
COMMENT ON TABLE pgrelay_peer.tombstone IS 'Rows that sessions of this server deleted, for a task that goes both ways and decides by latest_wins or source_priority: an older change of such a row that comes from the other side does not bring it back. Told by the stream of the opposite direction before the other side has the deletion, and gone when that is known to have seen it.';
COMMENT ON COLUMN pgrelay_peer.tombstone.key IS 'The columns that rows are found by; {} for all rows, which a TRUNCATE removed.';
COMMENT ON COLUMN pgrelay_peer.tombstone.commit_lsn IS 'Commit record of the transaction that deleted the row, changed its key or emptied the table.';
COMMENT ON COLUMN pgrelay_peer.tombstone.deleted_at IS 'Its commit time.';

CREATE TABLE IF NOT EXISTS pgrelay_peer.sequence (
    task_key text NOT NULL REFERENCES pgrelay_peer.task ON DELETE CASCADE,
    schema_name text NOT NULL,
    sequence_name text NOT NULL,
    PRIMARY KEY (task_key, schema_name, sequence_name)
);
COMMENT ON TABLE pgrelay_peer.sequence IS 'Sequences that give other values here than on the source (interleave_sequences), each row written in the transaction that made it so: they do not follow the source''s.';

CREATE INDEX IF NOT EXISTS conflict_age ON pgrelay_peer.conflict (detected_at);
COMMENT ON TABLE pgrelay_peer.conflict IS 'What changes met here and what was done about it. Columns as in the view pgrelay.conflict of the database that the task was made in; tables by their names on the source.';
COMMENT ON COLUMN pgrelay_peer.conflict.id IS 'By which it is known where it is carried to: a number would begin anew with the next task.';
COMMENT ON COLUMN pgrelay_peer.conflict.ordinal IS 'The order in which they are carried.';
COMMENT ON COLUMN pgrelay_peer.conflict.kind IS 'NULL with resolution skipped: a change of a transaction that was left out met nothing. Then policy is NULL too.';
CREATE TABLE IF NOT EXISTS pgrelay_peer.conflict_to_carry (
    task_key text NOT NULL REFERENCES pgrelay_peer.task ON DELETE CASCADE,
    ordinal bigint NOT NULL,
    ordinals bigint[] NOT NULL,
    bytes bigint NOT NULL,
    PRIMARY KEY (task_key, ordinal)
);
COMMENT ON TABLE pgrelay_peer.conflict_to_carry IS 'Records of pgrelay_peer.conflict that have not come to where the task was made: a row for those that one statement has written, written with them, and removed after they have come; only then may the records be removed.';
COMMENT ON COLUMN pgrelay_peer.conflict_to_carry.ordinal IS 'The first of them.';
COMMENT ON COLUMN pgrelay_peer.conflict_to_carry.ordinals IS 'All of them.';
COMMENT ON COLUMN pgrelay_peer.conflict_to_carry.bytes IS 'What they take together.';
