//! What a task may have made on a server and must not leave there.

use crate::pair::{DB, Pair};

/// Slots, publications, origins, triggers, schemas and running streams of pgrelay; the extension itself is none of them.
pub const LEFT: &str = "
    SELECT 'slot ' || slot_name FROM pg_replication_slots
    UNION ALL SELECT 'publication ' || pubname FROM pg_publication
    UNION ALL SELECT 'origin ' || roname FROM pg_replication_origin
    UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname ~ '^pgrelay' AND nspname <> 'pgrelay'
    UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger WHERE evtname !~ '^pgrelay'
    UNION ALL SELECT 'session ' || application_name FROM pg_stat_activity
              WHERE application_name ~ 'pgrelay' AND datname = current_database() AND state <> 'idle'
              AND pid <> pg_backend_pid() AND backend_type = 'walsender'
    ORDER BY 1";

/// Panics when anything of it is on either side.
pub async fn assert_nothing_left(pair: &Pair) {
    assert_eq!(pair.source.psql(DB, LEFT).await, "", "left on the source");
    assert_eq!(pair.peer.psql(DB, LEFT).await, "", "left on the peer");
}
