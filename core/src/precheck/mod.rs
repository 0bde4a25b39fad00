//! The rules of the precheck: plain functions from facts to findings.
//!
//! `facts` is what the applier gathers on both sides; each other file judges one category.
//! All checks run, none stops the others. A check that passes says so, once per side, so that a DBA sees what was looked at.
//! Whatever is a warning or an error names its object, its cause and, where SQL can mend it, that SQL.

mod connection;
mod facts;
mod objects;
mod rights;
mod server;
mod tables;

pub use facts::*;

use crate::finding::{Finding, Severity};

/// Judges some facts and adds what it finds.
pub type Check = fn(&Facts, &mut Vec<Finding>);

/// Every check with the item that its findings carry, in the order in which they are shown.
pub const CHECKS: &[(&str, Check)] = &[];

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
