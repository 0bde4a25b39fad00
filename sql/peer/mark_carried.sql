-- Records of conflicts have come to the task's home. $1 their ids (text[]).
UPDATE pgrelay_peer.conflict SET carried = true WHERE id = ANY ($1::text[]::uuid[])
