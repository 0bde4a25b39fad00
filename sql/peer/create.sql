-- What the applier keeps on the peer, in a schema of its own: made when the first task arrives, dropped with the last.
-- Everything that decides what has been done stands here, written in the transaction that did it.

CREATE SCHEMA IF NOT EXISTS pgrelay_peer;
COMMENT ON SCHEMA pgrelay_peer IS 'Position and marks of the pgrelay tasks that write to this database; goes away with the last of them.';

CREATE TABLE IF NOT EXISTS pgrelay_peer.task (
    task_key text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    pre_data_done boolean NOT NULL DEFAULT false,
    one_position boolean NOT NULL DEFAULT false,
    position pg_lsn NOT NULL DEFAULT '0/0',
    post_data_done boolean NOT NULL DEFAULT false,
    two_phase_since pg_lsn,
    seen_position pg_lsn NOT NULL DEFAULT '0/0',
    seen_commit bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE pgrelay_peer.task IS 'One row per task; task_key is the name of its replication origin. one_position: every table stands at position, which alone counts from here on and moves in the transactions that apply. Before that position only says how far the slot may be confirmed; it is never confirmed past it, so a slot that begins later is not the one that the rows belong to. The origin only marks what pgrelay wrote: from PostgreSQL 16 on an aborted transaction moves an origin too.';

COMMENT ON COLUMN pgrelay_peer.task.two_phase_since IS 'From this position of the source''s WAL on its slot sends transactions when they are prepared; written before the slot is told so. NULL: it never was.';

CREATE TABLE IF NOT EXISTS pgrelay_peer.prepared (
    task_key text NOT NULL REFERENCES pgrelay_peer.task ON DELETE CASCADE,
    name text NOT NULL,
    committed boolean NOT NULL,
    prepare_lsn pg_lsn NOT NULL,
    PRIMARY KEY (task_key, name, committed)
);
COMMENT ON TABLE pgrelay_peer.prepared IS 'What is known of transactions that were prepared here; removed when the position moves past their end.';
COMMENT ON COLUMN pgrelay_peer.prepared.committed IS 'True: the mark that the transaction itself has written, seen once it is committed; those of transactions that were prepared before two_phase_since stay, since they come again with their commit. False: it is prepared, written when the position moves past that.';
COMMENT ON COLUMN pgrelay_peer.prepared.name IS 'As in pg_prepared_xacts.';
COMMENT ON COLUMN pgrelay_peer.prepared.prepare_lsn IS 'Position of the prepare record on the source.';

COMMENT ON COLUMN pgrelay_peer.task.seen_position IS 'Of a two-way task: up to where of this server''s WAL the other side had applied, when it made what stands at position. Moves with that. seen_commit: the latest commit time among those transactions, in microseconds since 2000.';

CREATE TABLE IF NOT EXISTS pgrelay_peer.replica_identity (
    task_key text NOT NULL REFERENCES pgrelay_peer.task ON DELETE CASCADE,
    table_oid oid NOT NULL,
    identity_before "char" NOT NULL,
    index_before name,
    PRIMARY KEY (task_key, table_oid)
);
COMMENT ON TABLE pgrelay_peer.replica_identity IS 'Tables here whose replica identity a two-way task has set to FULL for its reverse direction, and what it was; put back when that ends. Written in the transaction that changes the table.';

CREATE TABLE IF NOT EXISTS pgrelay_peer.object (
    task_key text NOT NULL REFERENCES pgrelay_peer.task ON DELETE CASCADE,
    identity text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (task_key, identity)
);
COMMENT ON TABLE pgrelay_peer.object IS 'What a task has made here, each row written in the transaction that made it.';

CREATE TABLE IF NOT EXISTS pgrelay_peer.left_out (
    task_key text NOT NULL REFERENCES pgrelay_peer.task ON DELETE CASCADE,
    identity text NOT NULL,
    reason text NOT NULL,
    fix text,
    PRIMARY KEY (task_key, identity)
);
COMMENT ON TABLE pgrelay_peer.left_out IS 'What this server could not have when the task began, written in the transaction that made the task''s row: as long as the task lives neither this nor what needs it is made, copied or streamed.';

CREATE TABLE IF NOT EXISTS pgrelay_peer.kept (
    task_key text NOT NULL REFERENCES pgrelay_peer.task ON DELETE CASCADE,
    identity text NOT NULL,
    PRIMARY KEY (task_key, identity)
);
COMMENT ON TABLE pgrelay_peer.kept IS 'What this database had when the task began, with what belongs to it, written in the transaction that made the task''s row: as long as the task lives none of it is made or changed, and the rows of such tables stay.';

CREATE TABLE IF NOT EXISTS pgrelay_peer.table_copy (
    task_key text NOT NULL REFERENCES pgrelay_peer.task ON DELETE CASCADE,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    table_oid oid NOT NULL,
    snapshot text NOT NULL,
    visible_below pg_lsn NOT NULL,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    kept bigint NOT NULL DEFAULT 0,
    position pg_lsn NOT NULL DEFAULT '0/0',
    PRIMARY KEY (task_key, schema_name, table_name)
);
COMMENT ON TABLE pgrelay_peer.table_copy IS 'The done mark of each table''s copy, written in the transaction that copied the rows, and the position of its changes, moved in the transactions that apply them until the task stands at one position.';
COMMENT ON COLUMN pgrelay_peer.table_copy.kept IS 'Rows of the source that were left out, since one with the same key stays; rows counts the others.';
COMMENT ON COLUMN pgrelay_peer.table_copy.table_oid IS 'Of the table on the source: a table that was renamed or made again is not taken for another.';
COMMENT ON COLUMN pgrelay_peer.table_copy.snapshot IS 'The source''s pg_snapshot that the copy saw: a transaction visible in it is in the copy.';
COMMENT ON COLUMN pgrelay_peer.table_copy.visible_below IS 'A position of the source''s WAL that every transaction visible in the snapshot committed before.';

CREATE TABLE IF NOT EXISTS pgrelay_peer.chunk_copy (
    task_key text NOT NULL REFERENCES pgrelay_peer.task ON DELETE CASCADE,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    table_oid oid NOT NULL,
    key_column text,
    key_type oid NOT NULL,
    lower_bound text NOT NULL,
    upper_bound text NOT NULL,
    snapshot text NOT NULL,
    visible_below pg_lsn NOT NULL,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    PRIMARY KEY (task_key, schema_name, table_name, lower_bound)
);
COMMENT ON TABLE pgrelay_peer.chunk_copy IS 'The done mark of each chunk of a table that is copied in several, written in the transaction that copied its rows. The table is there when it has its row in table_copy too.';
COMMENT ON COLUMN pgrelay_peer.chunk_copy.key_column IS 'The column by whose values the table is cut; a chunk goes from lower_bound on to below upper_bound, an empty text is no bound. NULL: cut by ctid, or not usable any more, so that after a crash the table starts over.';
COMMENT ON COLUMN pgrelay_peer.chunk_copy.snapshot IS 'The source''s pg_snapshot that the chunk saw: after a crash the remaining chunks see another.';

CREATE TABLE IF NOT EXISTS pgrelay_peer.copy_run (
    task_key text PRIMARY KEY REFERENCES pgrelay_peer.task ON DELETE CASCADE,
    run bigint NOT NULL
);
COMMENT ON TABLE pgrelay_peer.copy_run IS 'Counts the times the copy of a task was begun. Each chunk''s transaction locks the row and wants its own number there, so none of an earlier applier is committed after a later one has looked.';

CREATE TABLE IF NOT EXISTS pgrelay_peer.large_objects (
    task_key text PRIMARY KEY REFERENCES pgrelay_peer.task ON DELETE CASCADE,
    upto oid NOT NULL DEFAULT 0,
    partial oid,
    objects bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    finished boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE pgrelay_peer.large_objects IS 'How far the copy of large objects has come, moved in the transactions that write them: those up to the OID upto are here.';
COMMENT ON COLUMN pgrelay_peer.large_objects.partial IS 'One that is written in several transactions and not here in full: it begins again after a crash, and goes away with the task.';
