-- The tables that the extension and the applier share: their only contract.
-- Every table or column group has one writer, named in its COMMENT. `created` to `desired_at`: what the user wants.

CREATE TABLE pgrelay.task (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name <> '' AND pg_catalog.length(name) <= 63),
    peer text NOT NULL,
    include text[] NOT NULL,
    exclude text[] NOT NULL,
    options jsonb NOT NULL,
    owner name NOT NULL,
    system_identifier bigint NOT NULL,
    database_oid oid NOT NULL,
    timeline integer NOT NULL,
    desired text NOT NULL DEFAULT 'none' CHECK (desired IN ('none', 'run', 'pause', 'stop', 'drop')),
    desired_serial bigint NOT NULL DEFAULT 0,
    desired_force boolean NOT NULL DEFAULT false,
    desired_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    reverse_desired text NOT NULL DEFAULT 'run' CHECK (reverse_desired IN ('run', 'pause')),
    reverse_serial bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE pgrelay.task IS 'What the user wants of each task. Writer: the extension''s functions; the applier only deletes the row of a task whose drop it has finished.';
COMMENT ON COLUMN pgrelay.task.peer IS 'Connection string without secrets, or the name of a foreign server.';
COMMENT ON COLUMN pgrelay.task.system_identifier IS 'Of the source, with database_oid and timeline: a clone of the source does not go on with the task.';
COMMENT ON COLUMN pgrelay.task.desired_serial IS 'Counts the commands given; the applier writes the last one it has taken up to task_actual.seen_serial.';

COMMENT ON COLUMN pgrelay.task.reverse_desired IS 'What the user wants of the reverse direction of a two-way task that is told to run or pause; desired is then that of the forward one.';
COMMENT ON COLUMN pgrelay.task.reverse_serial IS 'As desired_serial, of the reverse direction.';

CREATE TABLE pgrelay.task_actual (
    task_id bigint NOT NULL REFERENCES pgrelay.task (id) ON DELETE CASCADE,
    direction text NOT NULL DEFAULT 'forward' CHECK (direction IN ('forward', 'reverse')),
    seen_serial bigint NOT NULL DEFAULT 0,
    state text NOT NULL CHECK (state IN ('created', 'prechecking', 'precheck_failed', 'schema', 'copying', 'catching_up',
        'running', 'finished', 'paused', 'retrying', 'failed', 'stopped')),
    state_since timestamptz NOT NULL,
    stage text CHECK (stage IN ('schema', 'copy', 'stream')),
    updated_at timestamptz NOT NULL,
    objects_total integer,
    objects_done integer,
    received_lsn pg_lsn,
    applied_lsn pg_lsn,
    confirmed_lsn pg_lsn,
    peer_lsn pg_lsn,
    cleaning boolean NOT NULL DEFAULT false,
    lag_bytes bigint,
    lag interval,
    oldest_unapplied_commit timestamptz,
    rows_pending bigint,
    rows_per_second double precision,
    bytes_per_second double precision,
    copy_ends_at timestamptz,
    throttle jsonb,
    throttled double precision,
    transactions_applied bigint NOT NULL DEFAULT 0,
    changes_applied bigint NOT NULL DEFAULT 0,
    replayed bigint NOT NULL DEFAULT 0,
    replay_reason text,
    retrying_since timestamptz,
    error_sqlstate text,
    error_message text,
    error_detail text,
    error_hint text,
    error_object text,
    error_at timestamptz,
    PRIMARY KEY (task_id, direction)
);
-- peer_lsn and cleaning decide something: see their comments.
COMMENT ON TABLE pgrelay.task_actual IS 'How far each direction of each task has come. Writer: the applier. A task without a row for forward has never been taken up; one for reverse is there as long as something of that direction may be. Of the reverse direction source and peer change places in the columns.';
COMMENT ON COLUMN pgrelay.task_actual.stage IS 'The last stage it has come to, written before anything of it is done; NULL while nothing was written on the peer. Of the reverse direction schema: it is being made, or taken away; stream: slot, publications and position are there.';
COMMENT ON COLUMN pgrelay.task_actual.peer_lsn IS 'A position that the peer has reached: one that stands before it has been set back, and going on would leave a gap.';
COMMENT ON COLUMN pgrelay.task_actual.rows_per_second IS 'Of the copy, or of the stream once all tables stream, over the last seconds; likewise bytes_per_second.';
COMMENT ON COLUMN pgrelay.task_actual.copy_ends_at IS 'When the rows of all tables will be there at this speed; NULL when that cannot be known.';
COMMENT ON COLUMN pgrelay.task_actual.throttle IS 'The limits that copy and apply keep now.';
COMMENT ON COLUMN pgrelay.task_actual.throttled IS 'Part of the last seconds, 0 to 1, in which a limit kept the copy or the apply waiting.';
COMMENT ON COLUMN pgrelay.task_actual.cleaning IS 'The work is done or given up and both sides are being cleaned; written before the first thing is taken away.';

CREATE TABLE pgrelay.table_state (
    task_id bigint NOT NULL REFERENCES pgrelay.task (id) ON DELETE CASCADE,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    state text NOT NULL CHECK (state IN ('init', 'datasync', 'finishedcopy', 'syncdone', 'ready')),
    insert_only boolean NOT NULL DEFAULT false,
    rows_estimated bigint NOT NULL,
    bytes_estimated bigint NOT NULL,
    rows_copied bigint NOT NULL DEFAULT 0,
    rows_kept bigint NOT NULL DEFAULT 0,
    bytes_copied bigint NOT NULL DEFAULT 0,
    rows_per_second double precision,
    bytes_per_second double precision,
    indexes_done integer NOT NULL DEFAULT 0,
    indexes_total integer NOT NULL DEFAULT 0,
    copy_started_at timestamptz,
    copy_finished_at timestamptz,
    inserts bigint NOT NULL DEFAULT 0,
    updates bigint NOT NULL DEFAULT 0,
    deletes bigint NOT NULL DEFAULT 0,
    truncates bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (task_id, schema_name, table_name)
);
COMMENT ON TABLE pgrelay.table_state IS 'How far each table of a task has come, a copy for display: what counts is on the peer. Writer: the applier. States as in pg_subscription_rel: init (not begun), datasync (rows are being copied), finishedcopy (rows are on the peer, indexes are being built), syncdone (its waiting changes are applied), ready (it stands where the stream stands).';
COMMENT ON COLUMN pgrelay.table_state.rows_kept IS 'Rows of the source that the copy left out, since one of the peer''s with the same key stays.';
COMMENT ON COLUMN pgrelay.table_state.rows_copied IS 'Rows of the copy that is under way or done. inserts, updates, deletes, truncates count changes of the stream since the applier last attached.';

CREATE TABLE pgrelay.task_finding (
    task_id bigint NOT NULL REFERENCES pgrelay.task (id) ON DELETE CASCADE,
    ordinal integer NOT NULL,
    item text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('ok', 'warning', 'error')),
    object text NOT NULL,
    message text NOT NULL,
    fix text,
    found_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (task_id, ordinal)
);
COMMENT ON TABLE pgrelay.task_finding IS 'Findings of the last precheck of each task, and of the stream since. Writer: the applier, and the event trigger that sees a table rewritten.';

CREATE TABLE pgrelay.task_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    task text NOT NULL,
    writer text NOT NULL CHECK (writer IN ('extension', 'applier')),
    level text NOT NULL CHECK (level IN ('info', 'warning', 'error')),
    event text NOT NULL,
    object text,
    message text NOT NULL,
    detail text,
    hint text,
    sqlstate text
);
CREATE INDEX task_event_task_at ON pgrelay.task_event (task, at);
COMMENT ON TABLE pgrelay.task_event IS 'Every command, change of state and thing worth knowing, in order; kept when the task is dropped. Each row is written by the writer it names.';
COMMENT ON COLUMN pgrelay.task_event.event IS 'A stable word: command, state, error, schema, schema_failed, snapshot_wait, lock_queue, new_table, dropped_table, ….';

CREATE TABLE pgrelay.replica_identity (
    task_id bigint NOT NULL REFERENCES pgrelay.task (id),
    table_oid oid NOT NULL,
    identity_before "char" NOT NULL,
    index_before name,
    PRIMARY KEY (task_id, table_oid)
);
COMMENT ON TABLE pgrelay.replica_identity IS 'Tables whose replica identity a task has set to FULL, and what it was; put back at stop. Written in the transaction that changes the table: by the applier at start, by the event trigger when a table loses its identity later.';

CREATE TABLE pgrelay.request (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id bigint NOT NULL REFERENCES pgrelay.task (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('precheck', 'catchup', 'catchup_reverse', 'verify', 'undo_conflict', 'interleave')),
    lsn pg_lsn NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    answered_at timestamptz,
    error_sqlstate text,
    error_message text,
    error_hint text,
    token uuid UNIQUE,
    about bigint
);
COMMENT ON TABLE pgrelay.request IS 'Questions to the applier. Writer of id to requested_at, of token and about: the extension, which also removes old rows; of the rest: the applier.';
COMMENT ON COLUMN pgrelay.request.token IS 'By which the session that asks finds its question: another process writes it.';
COMMENT ON COLUMN pgrelay.request.about IS 'Of undo_conflict: the record.';
COMMENT ON COLUMN pgrelay.request.lsn IS 'Position of the source''s WAL when the question was asked.';

CREATE TABLE pgrelay.schema_difference (
    request_id bigint NOT NULL REFERENCES pgrelay.request (id) ON DELETE CASCADE,
    ordinal integer NOT NULL,
    kind text NOT NULL,
    identity text NOT NULL,
    difference text NOT NULL CHECK (difference IN ('missing', 'extra', 'different', 'later')),
    fix text,
    PRIMARY KEY (request_id, ordinal)
);
COMMENT ON TABLE pgrelay.schema_difference IS 'What verify_schema found, by request; goes away with the request. Writer: the applier.';

CREATE TABLE pgrelay.lease (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    holder uuid NOT NULL,
    backend_pid integer NOT NULL,
    backend_start timestamptz NOT NULL,
    valid_until timestamptz NOT NULL
);
COMMENT ON TABLE pgrelay.lease IS 'Which applier works on this database. Writer: the applier.';

CREATE TABLE pgrelay.applier_instance (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    process_id integer NOT NULL,
    version text NOT NULL,
    backend_pid integer NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);
COMMENT ON TABLE pgrelay.applier_instance IS 'Appliers that serve this database, standing by or working. Writer: the applier.';
