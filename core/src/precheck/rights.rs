//! The rights of the applier's role on both sides, stage by stage: `docs/privileges.md` as code.

use std::collections::BTreeMap;

use super::{Facts, OwnSchema, PEER, PeerFacts, SOURCE, TableFacts, error, objects, ok, warning};
use crate::{
    finding::Finding,
    name::{quote_ident, quote_qualified},
};

/// Table names that a message shows before it says how many more there are.
const SHOWN: usize = 3;

pub(super) fn source_applier_role(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "source_applier_role";
    let role = &facts.source.server.role.name;
    match facts.source.replication.applier_member {
        None => {}
        Some(true) => out.push(ok(ITEM, SOURCE, format!("role \"{role}\" has the rights of pgrelay_applier"))),
        Some(false) => out.push(error(
            ITEM,
            SOURCE,
            format!("role \"{role}\" is not a member of pgrelay_applier and cannot write what the views show"),
            format!("GRANT pgrelay_applier TO {};", quote_ident(role)),
        )),
    }
}

pub(super) fn source_replication(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "source_replication";
    let role = &facts.source.server.role;
    if !facts.options.stages.stream {
        return;
    }
    out.push(if role.superuser || role.replication {
        ok(ITEM, SOURCE, format!("role \"{}\" may replicate", role.name))
    } else {
        error(
            ITEM,
            SOURCE,
            format!("role \"{}\" may not replicate", role.name),
            format!("ALTER ROLE {} REPLICATION;", quote_ident(&role.name)),
        )
    });
}

pub(super) fn source_select(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "source_select";
    let role = &facts.source.server.role.name;
    if !facts.options.stages.copy && !facts.options.stages.stream {
        return;
    }
    let tables = facts.source.tables.iter().filter(|t| t.kind != 'f').map(|t| ("table", &t.schema, &t.name, t.schema_usage, t.select));
    let sequences = facts.source.sequences.iter().map(|s| ("sequence", &s.schema, &s.name, s.schema_usage, s.select));
    let before = out.len();
    for (kind, schema, name, usage, select) in tables.chain(sequences) {
        let mut grants = Vec::new();
        if !usage {
            grants.push(format!("GRANT USAGE ON SCHEMA {} TO {};", quote_ident(schema), quote_ident(role)));
        }
        if !select {
            let what = if kind == "sequence" { "SEQUENCE " } else { "" };
            grants.push(format!("GRANT SELECT ON {what}{} TO {};", quote_qualified(schema, name), quote_ident(role)));
        }
        if !grants.is_empty() {
            out.push(error(ITEM, format!("{schema}.{name}"), format!("role \"{role}\" may not read the {kind}"), grants.join(" ")));
        }
    }
    if out.len() == before {
        out.push(ok(ITEM, SOURCE, format!("role \"{role}\" may read every selected table and sequence")));
    }
}

pub(super) fn source_publication(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "source_publication";
    let server = &facts.source.server;
    let role = &server.role.name;
    if !facts.options.stages.stream {
        return;
    }
    let before = out.len();
    if !server.role.superuser && !server.role.create_in_database {
        out.push(error(
            ITEM,
            SOURCE,
            format!("role \"{role}\" may not create a publication in database \"{}\"", server.database),
            format!("GRANT CREATE ON DATABASE {} TO {};", quote_ident(&server.database), quote_ident(role)),
        ));
    }
    let mut by_owner: BTreeMap<(&str, bool), Vec<&TableFacts>> = BTreeMap::new();
    for table in facts.source.tables.iter().filter(|t| t.kind != 'f' && !t.owned) {
        by_owner.entry((&table.owner, table.owner_superuser)).or_default().push(table);
    }
    for ((owner, superuser), tables) in by_owner {
        let message = format!("only a member of \"{owner}\" may publish {}; role \"{role}\" is not", some_of(&tables));
        // Membership in a superuser would give everything away.
        let fix = if superuser {
            let alter = |t: &&TableFacts| format!("ALTER TABLE {} OWNER TO …;", quote_qualified(&t.schema, &t.name));
            format!(
                "{} -- a role that is no superuser and of which {} is a member",
                tables.iter().map(alter).collect::<Vec<_>>().join(" "),
                quote_ident(role)
            )
        } else {
            format!("GRANT {} TO {};", quote_ident(owner), quote_ident(role))
        };
        out.push(error(ITEM, format!("role {owner}"), message, fix));
    }
    if out.len() == before {
        out.push(ok(ITEM, SOURCE, format!("role \"{role}\" may publish every selected table")));
    }
}

fn some_of(tables: &[&TableFacts]) -> String {
    let mut text = tables.iter().take(SHOWN).map(|t| format!("\"{}.{}\"", t.schema, t.name)).collect::<Vec<_>>().join(", ");
    if tables.len() > SHOWN {
        text.push_str(&format!(" and {} more", tables.len() - SHOWN));
    }
    text
}

pub(super) fn source_row_security(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "source_row_security";
    let role = &facts.source.server.role.name;
    if !facts.options.stages.copy {
        return;
    }
    let hidden = facts.source.tables.iter().filter(|t| t.kind != 'f' && t.row_security_active).map(|t| (&t.schema, &t.name));
    let findings = row_security_findings(ITEM, role, "hides rows of the table from", hidden);
    if findings.is_empty() {
        out.push(ok(ITEM, SOURCE, format!("row security hides nothing from role \"{role}\"")));
    }
    out.extend(findings);
}

/// A note, not a warning: a role that has been granted just the tables is meant to work.
pub(super) fn peer_table_owners(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "peer_table_owners";
    let Ok(peer) = &facts.peer else { return };
    // With the schema stage the role gives the tables to their owners, which takes the same right (`peer_owners`).
    if !facts.options.stages.stream || facts.options.stages.schema {
        return;
    }
    let role = &peer.server.role.name;
    let there = peer.tables_by_name();
    let found = facts.source.tables.iter().filter_map(|t| there.get(&(t.schema.as_str(), t.name.as_str())));
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    found.filter(|t| !t.can_act).for_each(|t| *others.entry(t.owner.as_str()).or_default() += 1);
    if others.is_empty() {
        out.push(ok(ITEM, PEER, format!("role \"{role}\" may apply changes with the rights of the tables' owners")));
    }
    out.extend(others.iter().map(|(owner, tables)| Finding {
        fix: Some(format!("GRANT {} TO {};", quote_ident(owner), quote_ident(role))),
        ..ok(
            ITEM,
            format!("role {owner}"),
            format!("triggers and functions of {tables} of its tables have the rights of \"{role}\" while changes are applied, not their owner's"),
        )
    }));
}

pub(super) fn peer_row_security(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "peer_row_security";
    let Ok(peer) = &facts.peer else { return };
    let (role, stages) = (&peer.server.role, facts.options.stages);
    let exempt = role.superuser || role.bypass_rls;
    let can_act_as = |owner: &str| peer.rights.roles.iter().any(|r| r.name == owner && r.can_set);
    let there = peer.tables_by_name();
    let hit = |t: &TableFacts| {
        if stages.schema {
            !exempt && t.row_security && (t.row_security_forced || !can_act_as(&t.owner))
        } else {
            there.get(&(t.schema.as_str(), t.name.as_str())).is_some_and(|p| p.row_security_active)
        }
    };
    let hit = facts.source.tables.iter().filter(|t| t.row_security || !stages.schema).filter(|t| hit(t)).map(|t| (&t.schema, &t.name));
    let findings = row_security_findings(ITEM, &role.name, "of the table applies on the peer to", hit);
    if findings.is_empty() {
        out.push(ok(ITEM, PEER, format!("row security does not apply to role \"{}\"", role.name)));
    }
    out.extend(findings);
}

fn row_security_findings<'a>(
    item: &'static str,
    role: &str,
    does: &str,
    tables: impl Iterator<Item = (&'a String, &'a String)>,
) -> Vec<Finding> {
    let finding = |(schema, name): (&String, &String)| {
        error(
            item,
            format!("{schema}.{name}"),
            format!("row security {does} role \"{role}\""),
            format!("ALTER ROLE {} BYPASSRLS;", quote_ident(role)),
        )
    };
    tables.map(finding).collect()
}

pub(super) fn peer_create(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "peer_create";
    let Ok(peer) = &facts.peer else { return };
    let (server, role) = (&peer.server, &peer.server.role);
    let before = out.len();
    let needed = facts.options.stages.schema || peer.rights.own_schema == OwnSchema::Absent;
    if needed && !role.superuser && !role.create_in_database {
        out.push(error(
            ITEM,
            PEER,
            format!("role \"{}\" may not create schemas in database \"{}\"", role.name, server.database),
            format!("GRANT CREATE ON DATABASE {} TO {};", quote_ident(&server.database), quote_ident(&role.name)),
        ));
    }
    if peer.rights.own_schema == OwnSchema::Forbidden {
        out.push(error(
            ITEM,
            "pgrelay_peer",
            format!("schema \"pgrelay_peer\" belongs to a role whose rights role \"{}\" does not have", role.name),
            "Let every applier that writes to this database connect as the same role, or make this one a member of the schema's owner.",
        ));
    }
    if facts.options.stages.schema {
        out.extend(schemas_closed(facts, peer));
    }
    if out.len() == before {
        out.push(ok(ITEM, PEER, format!("role \"{}\" may create what the task needs in database \"{}\"", role.name, server.database)));
    }
}

/// Existing schemas of the peer in which something is to be created and the role may not.
fn schemas_closed(facts: &Facts, peer: &PeerFacts) -> Vec<Finding> {
    let role = &peer.server.role.name;
    let in_schema = |schema: &str| {
        facts
            .plan
            .objects
            .iter()
            .any(|o| objects::in_a_schema(&o.kind) && o.name.strip_prefix(schema).is_some_and(|rest| rest.starts_with('.')))
    };
    let finding = |schema: &str| {
        error(
            "peer_create",
            schema,
            format!("role \"{role}\" may not create in schema \"{schema}\" of the peer"),
            format!("GRANT CREATE, USAGE ON SCHEMA {} TO {};", quote_ident(schema), quote_ident(role)),
        )
    };
    peer.schemas.iter().filter(|s| !s.create && in_schema(&s.name)).map(|s| finding(&s.name)).collect()
}

pub(super) fn peer_apply(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "peer_apply";
    let Ok(peer) = &facts.peer else { return };
    let role = &peer.server.role.name;
    if !facts.options.stages.copy && !facts.options.stages.stream {
        return;
    }
    out.push(if peer.rights.set_replication_role {
        ok(ITEM, PEER, format!("role \"{role}\" may set session_replication_role"))
    } else {
        error(
            ITEM,
            PEER,
            format!("role \"{role}\" may not set session_replication_role, so triggers and foreign keys would run on copied rows"),
            format!("GRANT SET ON PARAMETER session_replication_role TO {};", quote_ident(role)),
        )
    });
}

pub(super) fn peer_origin_functions(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "peer_origin_functions";
    let Ok(peer) = &facts.peer else { return };
    let role = &peer.server.role.name;
    if !facts.options.stages.copy && !facts.options.stages.stream {
        return;
    }
    let missing: Vec<&str> = peer.rights.functions.iter().filter(|f| !f.execute).map(|f| f.signature.as_str()).collect();
    out.push(if missing.is_empty() {
        ok(ITEM, PEER, format!("role \"{role}\" may use replication origins"))
    } else {
        warning(
            ITEM,
            PEER,
            format!(
                "role \"{role}\" may not call {} of the functions of replication origins: what the task writes on the peer is not marked, \
                 so another replication that begins there carries it on, and two-way replication is not possible",
                missing.len()
            ),
            format!("GRANT EXECUTE ON FUNCTION {} TO {};", missing.join(", "), quote_ident(role)),
        )
    });
}

pub(super) fn peer_owners(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "peer_owners";
    let Ok(peer) = &facts.peer else { return };
    let role = &peer.server.role.name;
    if !facts.options.stages.schema {
        return;
    }
    let before = out.len();
    for owner in facts.source.roles.iter().filter(|r| r.owns) {
        if peer.rights.roles.iter().any(|r| r.name == owner.name && !r.can_set) {
            out.push(error(
                ITEM,
                format!("role {}", owner.name),
                format!("role \"{role}\" may not make \"{}\" the owner of what it owns on the source", owner.name),
                format!("GRANT {} TO {};", quote_ident(&owner.name), quote_ident(role)),
            ));
        }
    }
    if out.len() == before {
        out.push(ok(ITEM, PEER, format!("role \"{role}\" may give objects to the owners that exist")));
    }
}
