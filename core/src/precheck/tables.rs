//! What about the selected tables, and data beside them, is carried in part or not at all.

use super::{Facts, PEER, ReplicaTrigger, SOURCE, TableFacts, error, ok, warning};
use crate::{
    finding::Finding,
    name::{quote_ident, quote_literal, quote_qualified},
    task::{Keyless, Tablespaces},
};

impl TableFacts {
    /// UPDATE and DELETE can be carried, as RelationGetIndexList of relcache.c has it.
    pub fn has_identity(&self) -> bool {
        match self.replica_identity {
            'd' => self.primary_key,
            'i' => self.identity_index,
            'f' => true,
            _ => false,
        }
    }

    fn quoted(&self) -> String {
        quote_qualified(&self.schema, &self.name)
    }

    fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

pub(super) fn replica_identity(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "replica_identity";
    if !facts.options.stages.stream {
        return;
    }
    // A partitioned table is published by its partitions, an unlogged one not at all.
    let streamed = |t: &&TableFacts| t.kind == 'r' && t.persistence == 'p';
    let before = out.len();
    for table in facts.source.tables.iter().filter(streamed).filter(|t| !t.has_identity()) {
        out.push(match facts.options.keyless {
            Keyless::Error => error(
                ITEM,
                table.shown(),
                "no replica identity that tells rows apart, and a deferrable or invalid key is none: UPDATE and DELETE cannot be carried",
                format!("{} -- or set the task's option keyless", identity_fix(table)),
            ),
            Keyless::Full => {
                ok(ITEM, table.shown(), "no usable replica identity: it is FULL for as long as the task exists, and put back at stop")
            }
            Keyless::InsertOnly => warning(
                ITEM,
                table.shown(),
                "no usable replica identity: only INSERT and TRUNCATE are carried, UPDATE and DELETE are not",
                identity_fix(table),
            ),
        });
    }
    if out.len() == before {
        let count = facts.source.tables.iter().filter(streamed).count();
        out.push(ok(ITEM, SOURCE, format!("all {count} tables to stream have a replica identity")));
    }
}

fn identity_fix(table: &TableFacts) -> String {
    let identity = match &table.candidate_index {
        _ if table.primary_key => "DEFAULT".to_owned(),
        Some(index) => format!("USING INDEX {}", quote_ident(index)),
        None => "FULL".to_owned(),
    };
    format!("ALTER TABLE {} REPLICA IDENTITY {identity};", table.quoted())
}

pub(super) fn unlogged_tables(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "unlogged_tables";
    if !facts.options.stages.stream {
        return;
    }
    let before = out.len();
    for table in facts.source.tables.iter().filter(|t| t.kind == 'r' && t.persistence == 'u') {
        out.push(warning(
            ITEM,
            table.shown(),
            "the table is unlogged: its rows are copied, its changes after that are not carried",
            format!("ALTER TABLE {} SET LOGGED;", table.quoted()),
        ));
    }
    if out.len() == before {
        out.push(ok(ITEM, SOURCE, "no selected table is unlogged"));
    }
}

pub(super) fn foreign_tables(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "foreign_tables";
    let before = out.len();
    for table in facts.source.tables.iter().filter(|t| t.kind == 'f') {
        out.push(warning(
            ITEM,
            table.shown(),
            "the table is foreign: its rows stand on another server and are not carried",
            "Leave it out by the task's exclude, or acknowledge.",
        ));
    }
    if out.len() == before {
        out.push(ok(ITEM, SOURCE, "no selected table is foreign"));
    }
}

pub(super) fn large_objects(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "large_objects";
    let count = facts.source.replication.large_objects;
    if !facts.options.stages.copy && !facts.options.large_objects {
        return;
    }
    if count == 0 {
        return out.push(ok(ITEM, SOURCE, "the database holds no large object"));
    }
    if !facts.options.large_objects {
        return out.push(warning(
            ITEM,
            SOURCE,
            format!("the database holds {count} large objects, which are not carried"),
            "Give the option large_objects, carry them apart with pg_dump --blobs, or acknowledge.",
        ));
    }
    let unreadable = facts.source.replication.large_objects_unreadable;
    let role = quote_ident(&facts.source.server.role.name);
    if unreadable > 0 && facts.options.stages.copy {
        out.push(error(
            ITEM,
            SOURCE,
            format!("role {role} may not read {unreadable} of {count} large objects"),
            format!("GRANT SELECT ON LARGE OBJECT … TO {role}; or make the role a member of their owners"),
        ));
        return;
    }
    if let Ok(peer) = &facts.peer
        && peer.rights.large_objects
        && peer.made.is_empty()
        && peer.copied.is_empty()
    {
        out.push(error(
            ITEM,
            PEER,
            "the peer holds large objects already, and the source's come with the numbers that they have",
            "SELECT lo_unlink(oid) FROM pg_largeobject_metadata; -- on the peer, if nobody needs them there",
        ));
        return;
    }
    out.push(warning(
        ITEM,
        SOURCE,
        format!("the {count} large objects are carried as they are when the copy comes to them; what is written to them later is not"),
        "Write to none from then on, or carry those by hand after the move, and acknowledge.",
    ));
}

/// Without the option no more than a note: the peer's default tablespace takes everything.
pub(super) fn tablespaces(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "tablespaces";
    if !facts.options.stages.schema {
        return;
    }
    if facts.options.tablespaces == Tablespaces::Keep {
        let Ok(peer) = &facts.peer else { return };
        let lacking: Vec<&String> = facts.plan.tablespaces.difference(&peer.rights.tablespaces).collect();
        out.extend(lacking.iter().map(|name| {
            let name = quote_ident(name);
            let role = quote_ident(&peer.server.role.name);
            error(
                ITEM,
                format!("tablespace {name}"),
                "the peer does not have the tablespace, or its role may not create in it",
                format!(
                    "CREATE TABLESPACE {name} LOCATION '…'; GRANT CREATE ON TABLESPACE {name} TO {role}; -- on the peer, or give the \
                     option tablespaces = ignore"
                ),
            )
        }));
        if lacking.is_empty() {
            out.push(ok(ITEM, PEER, "the peer has every tablespace in which something selected lies"));
        }
        return;
    }
    let elsewhere = facts.source.tables.iter().filter(|t| t.tablespace.is_some()).count();
    out.push(ok(
        ITEM,
        SOURCE,
        match elsewhere {
            0 => "no selected table stands in a tablespace of its own".to_owned(),
            n => format!("{n} tables stand in tablespaces of their own; on the peer they stand in the database's"),
        },
    ));
}

pub(super) fn lc_monetary(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "lc_monetary";
    let Ok(peer) = &facts.peer else { return };
    let (Some(from), Some(to)) = (&facts.source.server.lc_monetary, &peer.server.lc_monetary) else { return };
    let tables = facts.source.tables.iter().filter(|t| t.money).count();
    out.push(if tables == 0 || from == to {
        ok(ITEM, PEER, "amounts of type money read the same on both sides")
    } else {
        warning(
            ITEM,
            PEER,
            format!("{tables} tables have columns of type money, and lc_monetary is \"{from}\" on the source, \"{to}\" on the peer"),
            format!("ALTER DATABASE {} SET lc_monetary = {};", quote_ident(&peer.server.database), quote_literal(from).trim()),
        )
    });
}

pub(super) fn replica_triggers(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "replica_triggers";
    let Ok(peer) = &facts.peer else { return };
    if !facts.options.stages.stream {
        return;
    }
    let before = out.len();
    let there = peer.tables_by_name();
    for table in &facts.source.tables {
        // With the schema stage the peer will have the source's triggers, beside what it has of its own.
        let made = if facts.options.stages.schema { table.replica_triggers.as_slice() } else { &[] };
        let own = there.get(&(table.schema.as_str(), table.name.as_str())).map_or(&[][..], |p| p.replica_triggers.as_slice());
        let own = own.iter().filter(|own| !made.iter().any(|made| made.name == own.name));
        out.extend(made.iter().map(|trigger| replica_trigger(table, trigger, true)));
        out.extend(own.map(|trigger| replica_trigger(table, trigger, false)));
    }
    if out.len() == before {
        out.push(ok(ITEM, PEER, "no trigger fires on rows that the stream applies"));
    }
}

fn replica_trigger(table: &TableFacts, trigger: &ReplicaTrigger, on_source: bool) -> Finding {
    let (mode, then) = if trigger.always { ("ALWAYS", "ENABLE") } else { ("REPLICA", "DISABLE") };
    let side = if on_source { SOURCE } else { PEER };
    warning(
        "replica_triggers",
        table.shown(),
        format!("trigger \"{}\" is ENABLE {mode}: on the peer it fires on every row that the stream applies", trigger.name),
        format!("ALTER TABLE {} {then} TRIGGER {}; -- on the {side}", table.quoted(), quote_ident(&trigger.name)),
    )
}
