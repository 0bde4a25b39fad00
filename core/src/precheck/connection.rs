//! Whether both databases can be reached, are two, and are the ones that the task means.

use super::{Facts, PEER, SOURCE, ServerFacts, error, ok};
use crate::finding::Finding;

fn connected(server: &ServerFacts) -> String {
    format!("connected to database \"{}\" of PostgreSQL {} as role \"{}\"", server.database, server.version, server.role.name)
}

/// By construction: without the source there are no facts.
pub(super) fn source_connection(facts: &Facts, out: &mut Vec<Finding>) {
    out.push(ok("source_connection", SOURCE, connected(&facts.source.server)));
}

pub(super) fn peer_connection(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "peer_connection";
    out.push(match &facts.peer {
        Ok(peer) => ok(ITEM, PEER, connected(&peer.server)),
        Err(unreachable) => error(
            ITEM,
            PEER,
            format!("the peer could not be asked: {}", unreachable.message),
            unreachable.hint.clone().unwrap_or_else(|| {
                "Check the task's peer, that the server listens there, pg_hba.conf, and .pgpass of the applier.".to_owned()
            }),
        ),
    });
}

/// By construction, when the applier asks; the extension says it otherwise.
pub(super) fn applier_attached(_: &Facts, out: &mut Vec<Finding>) {
    out.push(ok("applier_attached", SOURCE, "an applier is attached"));
}

pub(super) fn different_databases(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "different_databases";
    let Ok(peer) = &facts.peer else { return };
    let key = |s: &ServerFacts| (s.system_identifier, s.database_oid);
    out.push(if key(&facts.source.server) == key(&peer.server) {
        error(
            ITEM,
            PEER,
            format!(
                "source and peer are the same database \"{}\" of the same cluster, or physical copies of one another",
                peer.server.database
            ),
            "Drop the task and create it with another database or server as its peer.",
        )
    } else {
        ok(ITEM, PEER, "source and peer are different databases")
    });
}

pub(super) fn source_primary(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "source_primary";
    out.push(if facts.source.server.in_recovery {
        error(
            ITEM,
            SOURCE,
            "the source is a standby",
            "Let the applier connect to the primary, or promote this server: SELECT pg_promote();",
        )
    } else {
        ok(ITEM, SOURCE, "the source is a primary")
    });
}

pub(super) fn peer_writable(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "peer_writable";
    let Ok(peer) = &facts.peer else { return };
    out.push(if peer.server.in_recovery {
        error(ITEM, PEER, "the peer is a standby", "Name the primary as the task's peer, or promote this server: SELECT pg_promote();")
    } else if peer.server.read_only {
        error(
            ITEM,
            PEER,
            "sessions of the peer are read only",
            format!("ALTER DATABASE {} SET default_transaction_read_only = off;", crate::name::quote_ident(&peer.server.database)),
        )
    } else {
        ok(ITEM, PEER, "the peer accepts writes")
    });
}

pub(super) fn lineage(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "lineage";
    let (Some(made), now) = (facts.lineage, &facts.source.server) else { return };
    let differs = if made.system_identifier != now.system_identifier {
        "another cluster"
    } else if made.database_oid != now.database_oid {
        "another database of this cluster"
    } else if made.timeline != now.timeline {
        "another timeline of this cluster, before a promotion"
    } else {
        out.push(ok(ITEM, SOURCE, "this is the database that the task was made in"));
        return;
    };
    out.push(error(
        ITEM,
        SOURCE,
        format!("the task was made in {differs}: this database is a clone, a restored dump or a promoted standby"),
        "Drop the task here with force, which leaves the peer alone, and create it anew where it is meant to run.",
    ));
}
