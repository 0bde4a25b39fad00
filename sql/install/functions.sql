-- What each function does, in a line; docs/functions.md says more.

COMMENT ON FUNCTION pgrelay.create_task IS 'Stores a task; start_task begins it.';
COMMENT ON FUNCTION pgrelay.start_task(text) IS 'Starts a task.';
COMMENT ON FUNCTION pgrelay.start_task(text, text, text[], text[], jsonb) IS 'Stores a task and starts it.';
COMMENT ON FUNCTION pgrelay.pause_task IS 'Puts a task to rest, or one direction of it; slot and position are kept.';
COMMENT ON FUNCTION pgrelay.resume_task IS 'Lets a paused or failed task go on, or one direction of it.';
COMMENT ON FUNCTION pgrelay.stop_task IS 'Ends a task and cleans up both sides; the rows on the peer stay.';
COMMENT ON FUNCTION pgrelay.drop_task IS 'Ends a task, cleans up both sides and forgets it; with force also when the peer is gone.';
COMMENT ON FUNCTION pgrelay.alter_task IS 'Changes options of a task, key by key; limits, retry windows, copy_jobs and how conflicts are decided also while it runs.';
COMMENT ON FUNCTION pgrelay.wait_for_state IS 'Returns when a task, or its reverse direction, has come to a state, or raises when it cannot.';
COMMENT ON FUNCTION pgrelay.wait_for_catchup IS 'Returns when everything committed on the source before the call is visible on the peer, and, of a two-way task, the other way round.';
COMMENT ON FUNCTION pgrelay.precheck IS 'Has both sides checked by the applier and returns what was found.';
COMMENT ON FUNCTION pgrelay.verify_schema IS 'Differences of structure between source and peer, each with the DDL that mends the peer.';
COMMENT ON FUNCTION pgrelay.dependency_order IS 'The objects of a selection in the order in which they are made, and why.';
COMMENT ON FUNCTION pgrelay.schema_ddl IS 'The DDL of a selection, in order; section NULL stands for all.';
COMMENT ON FUNCTION pgrelay.set_conflict_policy IS 'Sets how conflicts of a task are decided: of all, or of those of a table, a kind, a direction.';
COMMENT ON FUNCTION pgrelay.set_conflict_option IS 'Sets the option strict or update_missing of a task: for all changes, or for those of a table, a direction.';
COMMENT ON FUNCTION pgrelay.undo_conflict IS 'Puts back what the resolution of a conflict has overwritten or removed, when nothing has changed since.';
COMMENT ON FUNCTION pgrelay.interleave_sequences IS 'Lets source and peer draw other values from the task''s sequences, until the task ends.';
COMMENT ON FUNCTION pgrelay.skip_transaction IS 'Leaves one transaction of a failed or paused task out.';
