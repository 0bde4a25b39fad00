//! What the reverse direction of a two-way task needs: of the peer what a source needs, of the source what a peer needs.
//!
//! That tables which the forward direction makes are there is what the reverse one wants: nothing here finds fault with it.

use std::collections::BTreeMap;

use super::{Facts, PEER, ReverseFacts, SOURCE, TableFacts, error, ok, server::is_of_task, warning};
use crate::{
    finding::Finding,
    name::{Selection, quote_ident, quote_qualified},
};

/// Looks only where there is a reverse direction and the peer could be asked.
fn of(facts: &Facts) -> Option<&ReverseFacts> {
    facts.reverse.as_ref().filter(|_| facts.options.is_two_way())
}

pub(super) fn wal_level(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "reverse_wal_level";
    let Some(reverse) = of(facts) else { return };
    let level = &reverse.replication.wal_level;
    out.push(if level == "logical" {
        ok(ITEM, PEER, "wal_level is logical")
    } else {
        let fix = "ALTER SYSTEM SET wal_level = 'logical'; -- on the peer, then restart the server";
        error(ITEM, PEER, format!("wal_level is {level}, the reverse direction needs logical"), fix)
    });
}

pub(super) fn slots(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "reverse_slots";
    let Some(ReverseFacts { replication, .. }) = of(facts) else { return };
    let own = replication.slots.iter().find(|slot| slot.name == replication.own_slot);
    let slots = (replication.slots.len() - usize::from(own.is_some())) as i64;
    let own_sender = own.and_then(|slot| slot.active_pid);
    let senders = replication.walsenders.iter().filter(|&&pid| Some(pid) != own_sender).count() as i64;
    let before = out.len();
    for (what, setting, used, limit) in [
        ("replication slots", "max_replication_slots", slots, replication.max_replication_slots),
        ("walsenders", "max_wal_senders", senders, replication.max_wal_senders),
    ] {
        if used >= limit {
            out.push(error(
                ITEM,
                PEER,
                format!("all {limit} {what} are in use, the reverse direction needs 1"),
                format!("ALTER SYSTEM SET {setting} = {}; -- on the peer, then restart the server", used + 1),
            ));
        }
    }
    if out.len() == before {
        out.push(ok(ITEM, PEER, "a replication slot and a walsender are free for the reverse direction"));
    }
}

/// Read on one side, write on the other, and mark what is written on both: else it would go round.
pub(super) fn rights(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "reverse_rights";
    let (Some(reverse), Ok(peer)) = (of(facts), &facts.peer) else { return };
    let before = out.len();
    let (there, here) = (&peer.server.role, &facts.source.server.role);
    if !there.superuser && !there.replication {
        let fix = format!("ALTER ROLE {} REPLICATION; -- on the peer", quote_ident(&there.name));
        out.push(error(ITEM, PEER, format!("role \"{}\" may not replicate", there.name), fix));
    }
    for (side, server, why) in [(PEER, &peer.server, "a publication"), (SOURCE, &facts.source.server, "schema \"pgrelay_peer\"")] {
        if !server.role.superuser && !server.role.create_in_database {
            out.push(error(
                ITEM,
                side,
                format!("role \"{}\" may not create {why} in database \"{}\"", server.role.name, server.database),
                format!(
                    "GRANT CREATE ON DATABASE {} TO {}; -- on the {side}",
                    quote_ident(&server.database),
                    quote_ident(&server.role.name)
                ),
            ));
        }
    }
    if !reverse.rights.set_replication_role {
        out.push(error(
            ITEM,
            SOURCE,
            format!("role \"{}\" may not set session_replication_role, so triggers would fire on what comes from the peer", here.name),
            format!("GRANT SET ON PARAMETER session_replication_role TO {}; -- on the source", quote_ident(&here.name)),
        ));
    }
    for (side, role, functions) in [(PEER, there, &peer.rights.functions), (SOURCE, here, &reverse.rights.functions)] {
        let lacking: Vec<&str> = functions.iter().filter(|f| !f.execute).map(|f| f.signature.as_str()).collect();
        if !lacking.is_empty() {
            out.push(error(
                ITEM,
                side,
                format!(
                    "role \"{}\" may not use replication origins: what the task writes could not be told from what others write",
                    role.name
                ),
                format!("GRANT EXECUTE ON FUNCTION {} TO {}; -- on the {side}", lacking.join(", "), quote_ident(&role.name)),
            ));
        }
    }
    if out.len() == before {
        out.push(ok(ITEM, PEER, "the applier's roles may read on the peer and write on the source, and mark what they write"));
    }
}

/// Tables that are on the peer and not made by the task.
pub(super) fn tables(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "reverse_tables";
    let (Some(reverse), Ok(peer)) = (of(facts), &facts.peer) else { return };
    let before = out.len();
    let wanted: BTreeMap<(&str, &str), bool> =
        facts.source.tables.iter().filter(|t| t.kind == 'r').map(|t| ((t.schema.as_str(), t.name.as_str()), t.has_identity())).collect();
    let carried = |t: &TableFacts| t.is_carried_by(&facts.options.reverse);
    if let Some(selection) = &facts.options.reverse.selection {
        selected(selection, &facts.source.tables, &carried, out);
    }
    let is_made = |schema: &str, name: &str| peer.made.contains(&format!("table {schema}.{name}"));
    for table in reverse.tables.iter().filter(|t| t.kind == 'r' && t.persistence == 'p' && carried(t)) {
        let Some(has_identity) = wanted.get(&(table.schema.as_str(), table.name.as_str())) else { continue };
        let shown = format!("{}.{}", table.schema, table.name);
        let quoted = quote_qualified(&table.schema, &table.name);
        if !table.owned {
            out.push(error(
                ITEM,
                shown,
                format!(
                    "only a member of \"{}\" may publish the table on the peer; role \"{}\" is not",
                    table.owner, peer.server.role.name
                ),
                format!("GRANT {} TO {}; -- on the peer", quote_ident(&table.owner), quote_ident(&peer.server.role.name)),
            ));
        } else if *has_identity && !table.has_identity() && !is_made(&table.schema, &table.name) {
            out.push(error(
                ITEM,
                shown,
                "the peer's table has no replica identity that tells rows apart: UPDATE and DELETE would fail there once it is published",
                format!("ALTER TABLE {quoted} ADD PRIMARY KEY (…); -- or REPLICA IDENTITY FULL, on the peer"),
            ));
        }
    }
    if out.len() == before {
        out.push(ok(ITEM, PEER, "the tables of the task can be published on the peer"));
    }
}

/// Whether the option `reverse` selects something, all of it is there, and no foreign key goes from what it selects to the rest or back.
fn selected(selection: &Selection, tables: &[TableFacts], carried: &dyn Fn(&TableFacts) -> bool, out: &mut Vec<Finding>) {
    const ITEM: &str = "reverse_tables";
    if !tables.iter().any(|t| t.kind == 'r' && t.persistence == 'p' && carried(t)) {
        let fix = "SELECT pgrelay.alter_task(…, '{\"reverse\": null}'); -- or with other patterns, then start_task or resume_task";
        return out.push(error(ITEM, SOURCE, "option \"reverse\" selects none of the task's tables", fix));
    }
    for pattern in selection.include.iter().chain(&selection.exclude) {
        let names =
            |t: &TableFacts| pattern.matches(&t.schema, &t.name) || t.parents.iter().any(|(schema, name)| pattern.matches(schema, name));
        if !tables.iter().any(names) {
            let message = format!("pattern {pattern} of option \"reverse\" is of no table of the task");
            out.push(warning(ITEM, pattern.to_string(), message, "Mend it with pgrelay.alter_task(), or leave it out."));
        }
    }
    let of_name: BTreeMap<(&str, &str), bool> = tables.iter().map(|t| ((t.schema.as_str(), t.name.as_str()), carried(t))).collect();
    for table in tables {
        let parts = table
            .references
            .iter()
            .filter(|(schema, name)| of_name.get(&(schema.as_str(), name.as_str())).is_some_and(|other| *other != carried(table)));
        for (schema, name) in parts {
            let message = format!(
                "it refers to table \"{schema}.{name}\" by a foreign key, and the reverse direction carries only one of them: rows may come \
                 that refer to none, and TRUNCATE of one with the other stops that direction"
            );
            out.push(warning(ITEM, format!("{}.{}", table.schema, table.name), message, "Let option \"reverse\" carry both or none."));
        }
    }
}

/// A third server that writes to either side is no harm: it is carried to the other.
pub(super) fn origins(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "reverse_origins";
    let (Some(reverse), Ok(peer)) = (of(facts), &facts.peer) else { return };
    for (side, origins) in [(SOURCE, &reverse.rights.origins), (PEER, &peer.rights.origins)] {
        let others: Vec<String> =
            origins.iter().filter(|name| !is_of_task(name, &peer.own_origin)).map(|name| format!("\"{name}\"")).collect();
        out.push(if others.is_empty() {
            ok(ITEM, side, "nobody else replicates to this server")
        } else {
            ok(ITEM, side, format!("other replication origins are there, and what comes by them is carried: {}", others.join(", ")))
        });
    }
}
