//! The rules of the precheck: plain functions from facts to findings.
//!
//! `facts` is what the applier gathers on both sides; each other file judges one category.
//! All checks run, none stops the others. A check that passes says so, once per side, so that a DBA sees what was looked at.
//! Whatever is a warning or an error names its object, its cause and, where SQL can mend it, that SQL.

mod conflicts;
mod connection;
mod convergence;
mod facts;
mod objects;
mod rights;
mod server;
mod tables;
#[cfg(test)]
mod tests;
mod two_way;

pub use conflicts::lacking_commit_times;
pub use facts::*;
pub use objects::lacking_extensions;

use crate::finding::{Finding, Severity};

/// Judges some facts and adds what it finds.
pub type Check = fn(&Facts, &mut Vec<Finding>);

/// Every check with the item that its findings carry, in the order in which they are shown.
pub const CHECKS: &[(&str, Check)] = &[
    ("source_connection", connection::source_connection),
    ("peer_connection", connection::peer_connection),
    ("applier_attached", connection::applier_attached),
    ("different_databases", connection::different_databases),
    ("source_primary", connection::source_primary),
    ("peer_writable", connection::peer_writable),
    ("lineage", connection::lineage),
    ("version", server::version),
    ("wal_level", server::wal_level),
    ("replication_slots", server::replication_slots),
    ("wal_senders", server::wal_senders),
    ("slot_limits", server::slot_limits),
    ("wal_sender_timeout", server::wal_sender_timeout),
    ("synchronous_standby_names", server::synchronous_standby_names),
    ("replication_origins", server::replication_origins),
    ("connections", server::connections),
    ("encoding", server::encoding),
    ("locale", server::locale),
    ("track_commit_timestamp", conflicts::track_commit_timestamp),
    ("long_transactions", server::long_transactions),
    ("prepared_transactions", server::prepared_transactions),
    ("two_phase", server::two_phase),
    ("source_applier_role", rights::source_applier_role),
    ("source_replication", rights::source_replication),
    ("source_select", rights::source_select),
    ("source_publication", rights::source_publication),
    ("source_row_security", rights::source_row_security),
    ("peer_create", rights::peer_create),
    ("peer_apply", rights::peer_apply),
    ("peer_origin_functions", rights::peer_origin_functions),
    ("peer_owners", rights::peer_owners),
    ("peer_table_owners", rights::peer_table_owners),
    ("peer_row_security", rights::peer_row_security),
    ("replica_identity", tables::replica_identity),
    ("unlogged_tables", tables::unlogged_tables),
    ("foreign_tables", tables::foreign_tables),
    ("large_objects", tables::large_objects),
    ("tablespaces", tables::tablespaces),
    ("lc_monetary", tables::lc_monetary),
    ("replica_triggers", tables::replica_triggers),
    ("existing_objects", objects::existing_objects),
    ("peer_tables", objects::peer_tables),
    ("peer_roles", objects::peer_roles),
    ("extensions", objects::extensions),
    ("event_triggers", objects::event_triggers),
    ("reverse_wal_level", two_way::wal_level),
    ("reverse_slots", two_way::slots),
    ("reverse_rights", two_way::rights),
    ("reverse_tables", two_way::tables),
    ("reverse_origins", two_way::origins),
    ("two_way_policies", convergence::policies),
    ("two_way_tables", convergence::tables),
    ("two_way_sequences", convergence::sequences),
];

/// Runs every check. Findings come in the order of `CHECKS`.
pub fn run(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, check) in CHECKS {
        check(facts, &mut findings);
    }
    findings
}

/// Name of the object of a finding about the whole source.
const SOURCE: &str = "source";
/// Name of the object of a finding about the whole peer.
const PEER: &str = "peer";

fn ok(item: &'static str, object: impl Into<String>, message: impl Into<String>) -> Finding {
    Finding { item, severity: Severity::Ok, object: object.into(), message: message.into(), fix: None }
}

fn warning(item: &'static str, object: impl Into<String>, message: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { item, severity: Severity::Warning, object: object.into(), message: message.into(), fix: Some(fix.into()) }
}

fn error(item: &'static str, object: impl Into<String>, message: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { item, severity: Severity::Error, object: object.into(), message: message.into(), fix: Some(fix.into()) }
}
