//! Large objects: what belongs to one beside its content.
//!
//! They are no part of a plan: a database may have millions, and they come in their order, not in that of what needs them.

use serde::Deserialize;

use crate::{
    catalog::{Acl, Comment, Grant, Label},
    ddl::attached,
    name::quote_ident,
};

/// What `sql/query/source/large_objects.sql` says of one.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Metadata {
    /// Unquoted.
    pub owner: String,
    /// Absent: a new object's.
    pub acl: Option<Vec<Grant>>,
    /// What a new object of this owner has.
    pub base: Vec<Grant>,
    /// Its comment.
    pub comment: Option<String>,
    /// Provider and label.
    #[serde(default)]
    pub labels: Vec<(String, String)>,
}

/// Class and sub-number play no part in the DDL.
const NONE: u32 = 0;

/// What makes an object that the role `creator` has just made like the source's; none where it is so already.
pub fn ddl(oid: u32, metadata: &Metadata, creator: &str) -> String {
    let target = format!("LARGE OBJECT {oid}");
    let mut ddl = String::new();
    if metadata.owner != creator {
        ddl.push_str(&format!("ALTER {target} OWNER TO {};\n", quote_ident(&metadata.owner)));
    }
    if let Some(acl) = &metadata.acl {
        let (owner, base) = (metadata.owner.clone(), metadata.base.clone());
        let acl = Acl { class: NONE, oid, sub: 0, owner, target: target.clone(), column: None, acl: acl.clone(), base };
        ddl.push_str(&attached::grants(&[&acl]));
    }
    if let Some(text) = &metadata.comment {
        ddl.push_str(&attached::comment(&Comment(NONE, oid, 0, target.clone(), text.clone())));
    }
    for (provider, label) in &metadata.labels {
        ddl.push_str(&attached::label(&Label(NONE, oid, 0, provider.clone(), target.clone(), label.clone())));
    }
    ddl
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_new_object_has_not_is_said() {
        let grant = |to: &str, what: &str| Grant("ann".to_string(), Some(to.to_string()), what.to_string(), false);
        let base = vec![grant("ann", "SELECT"), grant("ann", "UPDATE")];
        let mut one = Metadata { owner: "ann".to_string(), acl: None, base: base.clone(), comment: None, labels: vec![] };
        assert_eq!(ddl(7, &one, "ann"), "");
        one.acl = Some([base, vec![grant("Bob B", "SELECT")]].concat());
        one.comment = Some("it's".to_string());
        let expected =
            "ALTER LARGE OBJECT 7 OWNER TO \"ann\";\nGRANT SELECT ON LARGE OBJECT 7 TO \"Bob B\";\nCOMMENT ON LARGE OBJECT 7 IS 'it''s';";
        assert_eq!(ddl(7, &one, "relay"), expected);
    }
}
