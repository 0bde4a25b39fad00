//! Changes of a row's key, where changes go both ways and `latest_wins` or `source_priority` decide.

use bytes::Bytes;
use pgrelay_core::{Result, conflict::remember_deletions};

use super::{Applier, outside};
use crate::{conflict::missing, pg::pgoutput::Tuple};

impl Applier {
    /// An update that changes the key and leaves long values as they were, as a message with these values too; none of any other
    /// update.
    ///
    /// An earlier change of the row that won here had to be left out, if it left such values as they were as well: by the old key
    /// there was nothing to be read any more. So this one brings all that the row has.
    pub(super) async fn completed(&mut self, oid: u32, old: Option<Tuple<'_>>, new: Tuple<'_>, payload: &Bytes) -> Result<Option<Bytes>> {
        if self.setting.two_way.is_none() || self.tables.is_some() || old.is_none() || !new.is_partial() || !self.heeds_deletions() {
            return Ok(None);
        }
        let relation = self.relations.get(oid)?.clone();
        let open = self.open.as_ref().ok_or_else(outside)?;
        if open.is_there || !remember_deletions(&open.rules, self.setting.direction, &relation.table) {
            return Ok(None);
        }
        let other_side = self.resolver.other_side.clone();
        let target = self.target(&relation).await?;
        if !target.changes_key(old, Some(new)) {
            return Ok(None);
        }
        missing::complete(&other_side, target, payload, old, new).await
    }
}
