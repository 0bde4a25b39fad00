-- $1 task, $2 level, $3 event, $4 object, $5 message, $6 detail, $7 hint, $8 sqlstate
INSERT INTO pgrelay.task_event (task, writer, level, event, object, message, detail, hint, sqlstate)
VALUES ($1, 'applier', $2, $3, $4, $5, $6, $7, $8)
