CREATE VIEW pgrelay.interleaved_sequence AS
SELECT t.name AS task,
       s.schema_name AS schema,
       s.sequence_name AS sequence,
       s.increment_before,
       s.reason IS NULL AS interleaved,
       s.reason
FROM pgrelay.task_sequence s
JOIN pgrelay.task t ON t.id = s.task_id;

COMMENT ON VIEW pgrelay.interleaved_sequence IS 'Sequences that interleave_sequences has looked at.';
COMMENT ON COLUMN pgrelay.interleaved_sequence.task IS 'Name of the task.';
COMMENT ON COLUMN pgrelay.interleaved_sequence.schema IS 'Schema of the sequence.';
COMMENT ON COLUMN pgrelay.interleaved_sequence.sequence IS 'Name of the sequence.';
COMMENT ON COLUMN pgrelay.interleaved_sequence.increment_before IS 'Its step before, which it gets back when the task ends.';
COMMENT ON COLUMN pgrelay.interleaved_sequence.interleaved IS 'Source and peer draw other values from it.';
COMMENT ON COLUMN pgrelay.interleaved_sequence.reason IS 'Why it was left as it is.';
GRANT SELECT ON pgrelay.interleaved_sequence TO pgrelay_monitor;
