-- Records of conflicts have come to the task's home. $1 task key, $2 ordinals of rows of the list (bigint[]).
DELETE FROM pgrelay_peer.conflict_to_carry WHERE task_key = $1 AND ordinal = ANY ($2)
