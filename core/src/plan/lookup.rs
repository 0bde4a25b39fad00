//! The catalog by OID, for `ddl`.

use std::collections::HashMap;

use crate::{
    catalog::{Catalog, Column, Constraint, Sequence, Table, View},
    name::quote_ident,
    task::Tablespaces,
};

/// Borrowed views of a catalog by OID.
pub(crate) struct Lookup<'a> {
    pub catalog: &'a Catalog,
    tables: HashMap<u32, &'a Table>,
    views: HashMap<u32, &'a View>,
    checks: HashMap<u32, Vec<&'a Constraint>>,
    domain_checks: HashMap<u32, Vec<&'a Constraint>>,
    identities: HashMap<(u32, &'a str), &'a Sequence>,
    /// Of indexes that a constraint makes, by the constraint; none when tablespaces are not kept.
    of_constraints: HashMap<u32, &'a str>,
    keeps_tablespaces: bool,
}

impl<'a> Lookup<'a> {
    pub fn new(catalog: &'a Catalog, tablespaces: Tablespaces) -> Self {
        let keeps_tablespaces = tablespaces == Tablespaces::Keep;
        let mut checks: HashMap<u32, Vec<&Constraint>> = HashMap::new();
        let mut domain_checks: HashMap<u32, Vec<&Constraint>> = HashMap::new();
        for constraint in catalog.constraints.iter().filter(|k| k.kind == "c") {
            match (constraint.table, constraint.domain) {
                (Some(table), _) => checks.entry(table).or_default().push(constraint),
                (None, Some(domain)) => domain_checks.entry(domain).or_default().push(constraint),
                (None, None) => {}
            }
        }
        let identity = |s: &'a Sequence| Some(((s.table?, s.column.as_deref()?), s)).filter(|_| s.identity);
        Lookup {
            catalog,
            tables: catalog.tables.iter().map(|t| (t.object.oid, t)).collect(),
            views: catalog.views.iter().map(|v| (v.object.oid, v)).collect(),
            checks,
            domain_checks,
            identities: catalog.sequences.iter().filter_map(identity).collect(),
            of_constraints: catalog
                .indexes
                .iter()
                .filter(|_| keeps_tablespaces)
                .filter_map(|i| Some((i.constraint?, i.tablespace.as_deref()?)))
                .collect(),
            keeps_tablespaces,
        }
    }

    /// Whether objects stay in the tablespace they lie in.
    pub fn keeps_tablespaces(&self) -> bool {
        self.keeps_tablespaces
    }

    /// ` TABLESPACE "x"` for one that is kept, or nothing.
    pub fn tablespace(&self, tablespace: Option<&String>) -> String {
        let kept = tablespace.filter(|_| self.keeps_tablespaces);
        kept.map(|t| format!(" TABLESPACE {}", quote_ident(t))).unwrap_or_default()
    }

    /// ` USING INDEX TABLESPACE "x"` for the index of a constraint, or nothing.
    pub fn tablespace_of_constraint(&self, constraint: u32) -> String {
        self.of_constraints.get(&constraint).map(|t| format!(" USING INDEX TABLESPACE {}", quote_ident(t))).unwrap_or_default()
    }

    pub fn table(&self, oid: u32) -> Option<&'a Table> {
        self.tables.get(&oid).copied()
    }

    pub fn view(&self, oid: u32) -> Option<&'a View> {
        self.views.get(&oid).copied()
    }

    /// Quoted and plain name of a table or view.
    pub fn relation_name(&self, oid: u32) -> Option<(String, String)> {
        let object = self.table(oid).map(|t| &t.object).or_else(|| self.view(oid).map(|v| &v.object))?;
        Some((object.quoted(), object.plain()))
    }

    pub fn columns(&self, relation: u32) -> &'a [Column] {
        self.catalog.columns.get(&relation).map(Vec::as_slice).unwrap_or_default()
    }

    /// CHECK constraints of a table.
    pub fn checks(&self, table: u32) -> &[&'a Constraint] {
        self.checks.get(&table).map(Vec::as_slice).unwrap_or_default()
    }

    /// CHECK constraints of a domain.
    pub fn domain_checks(&self, domain: u32) -> &[&'a Constraint] {
        self.domain_checks.get(&domain).map(Vec::as_slice).unwrap_or_default()
    }

    /// The sequence of an identity column.
    pub fn identity(&self, table: u32, column: &str) -> Option<&'a Sequence> {
        self.identities.get(&(table, column)).copied()
    }
}
