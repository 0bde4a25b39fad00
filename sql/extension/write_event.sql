-- $1 task, $2 event, $3 message
INSERT INTO pgrelay.task_event (task, writer, level, event, message)
VALUES ($1, 'extension', 'info', $2, $3)
