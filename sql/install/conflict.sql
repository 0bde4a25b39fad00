-- Conflicts: how they are to be decided, what is to be left out, and what has happened.

CREATE TABLE pgrelay.task_policy (
    task_id bigint NOT NULL REFERENCES pgrelay.task (id) ON DELETE CASCADE,
    schema_name text,
    table_name text,
    kind text CHECK (kind IN ('insert_exists', 'update_exists', 'update_origin_differs', 'delete_origin_differs',
        'multiple_unique_conflicts')),
    direction text CHECK (direction IN ('forward', 'reverse')),
    policy text NOT NULL CHECK (policy IN ('fail', 'ignore', 'overwrite', 'latest_wins', 'source_priority')),
    CHECK ((schema_name IS NULL) = (table_name IS NULL)),
    CHECK (pg_catalog.num_nonnulls(table_name, kind, direction) > 0),
    UNIQUE NULLS NOT DISTINCT (task_id, schema_name, table_name, kind, direction)
);
COMMENT ON TABLE pgrelay.task_policy IS 'Policies that count for some conflicts of a task only; NULL stands for all. For all conflicts together: the option conflict_policy. Writer: the extension''s functions.';

CREATE TABLE pgrelay.task_conflict_option (
    task_id bigint NOT NULL REFERENCES pgrelay.task (id) ON DELETE CASCADE,
    option text NOT NULL,
    schema_name text,
    table_name text,
    direction text CHECK (direction IN ('forward', 'reverse')),
    value text NOT NULL,
    CHECK (option = 'strict' AND value IN ('true', 'false') OR option = 'update_missing' AND value IN ('insert', 'skip', 'fail')),
    CHECK ((schema_name IS NULL) = (table_name IS NULL)),
    CHECK (pg_catalog.num_nonnulls(table_name, direction) > 0),
    UNIQUE NULLS NOT DISTINCT (task_id, option, schema_name, table_name, direction)
);
COMMENT ON TABLE pgrelay.task_conflict_option IS 'The options strict and update_missing where they count for some changes of a task only; NULL stands for all. Writer: the extension''s functions.';

CREATE TABLE pgrelay.task_sequence (
    task_id bigint NOT NULL REFERENCES pgrelay.task (id) ON DELETE CASCADE,
    schema_name text NOT NULL,
    sequence_name text NOT NULL,
    increment_before bigint NOT NULL,
    reason text,
    PRIMARY KEY (task_id, schema_name, sequence_name)
);
COMMENT ON TABLE pgrelay.task_sequence IS 'Sequences that give other values on source and peer since interleave_sequences, each row written in the transaction that made it so here. Writer: the applier.';
COMMENT ON COLUMN pgrelay.task_sequence.increment_before IS 'Its step before, which it gets back when the task ends.';
COMMENT ON COLUMN pgrelay.task_sequence.reason IS 'Why it was left as it is; NULL for one that was changed.';

CREATE TABLE pgrelay.task_skip (
    task_id bigint NOT NULL REFERENCES pgrelay.task (id) ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('forward', 'reverse')),
    commit_lsn pg_lsn NOT NULL,
    requested_by name NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (task_id, direction, commit_lsn)
);
COMMENT ON TABLE pgrelay.task_skip IS 'Transactions that a task leaves out. Writer: the extension''s functions.';
COMMENT ON COLUMN pgrelay.task_skip.commit_lsn IS 'Position of the commit record, on the side where the transaction was made.';

CREATE TABLE pgrelay.task_conflict (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id bigint NOT NULL REFERENCES pgrelay.task (id) ON DELETE CASCADE,
    record uuid,
    table_oid oid,
    direction text NOT NULL,
    detected_at timestamptz NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    operation text NOT NULL,
    kind text,
    constraints text[] NOT NULL,
    policy text,
    resolution text NOT NULL,
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
CREATE UNIQUE INDEX task_conflict_record ON pgrelay.task_conflict (record) WHERE record IS NOT NULL;
CREATE INDEX task_conflict_age ON pgrelay.task_conflict (task_id, detected_at);
COMMENT ON TABLE pgrelay.task_conflict IS 'What changes met and what was done about it, written in the transaction that did it or carried from the other side, where it stands in that. Goes away after conflict_retention days, and with the task. Holds rows of tables: to be read through the view pgrelay.conflict only. Writer: the applier.';
COMMENT ON COLUMN pgrelay.task_conflict.record IS 'By which it is known on the other side when it happened there: carried twice it stands here once. NULL when it happened here.';
COMMENT ON COLUMN pgrelay.task_conflict.table_oid IS 'Of the table here when the record came; whoever may read that one may read the record.';

CREATE TABLE pgrelay.task_conflict_count (
    task_id bigint NOT NULL REFERENCES pgrelay.task (id) ON DELETE CASCADE,
    direction text NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    kind text NOT NULL,
    count bigint NOT NULL
);
CREATE INDEX task_conflict_count_task ON pgrelay.task_conflict_count (task_id);
COMMENT ON TABLE pgrelay.task_conflict_count IS 'Conflicts by table and kind, counted in the statement that writes their records: exact also when records are removed. Several rows may count the same conflicts, so that nobody waits for another; now and then they become one. Writer: the applier.';
