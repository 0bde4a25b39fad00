//! What deciding about conflicts needs.

use super::{Facts, PEER, SOURCE, error, ok, warning};
use crate::{
    conflict::{Policy, Rules},
    finding::Finding,
};

const ITEM: &str = "track_commit_timestamp";
const FIX: &str = "ALTER SYSTEM SET track_commit_timestamp = on; -- then restart the server";

pub(super) fn track_commit_timestamp(facts: &Facts, out: &mut Vec<Finding>) {
    let Ok(peer) = &facts.peer else { return };
    if !facts.options.stages.stream {
        return;
    }
    let mut sides = vec![(PEER, peer.server.track_commit_timestamp)];
    // Changes of the peer meet rows there.
    if facts.options.is_two_way() {
        sides.push((SOURCE, facts.source.server.track_commit_timestamp));
    }
    for (side, tracks) in sides {
        let message = match (tracks, facts.options.is_two_way()) {
            (true, _) => "track_commit_timestamp is on",
            (false, false) => "track_commit_timestamp is off, and the task's policies do not need it",
            (false, true) => "track_commit_timestamp is off: that both sides update or delete the same row at the same time is not noticed",
        };
        let lacking = lacking_commit_times(&facts.rules, tracks).map(|finding| Finding { object: side.to_owned(), ..finding });
        out.push(lacking.unwrap_or_else(|| match (tracks, facts.options.is_two_way()) {
            (false, true) => warning(ITEM, side, message, FIX),
            _ => ok(ITEM, side, message),
        }));
    }
}

/// What is wrong with a peer that does not know when and by whom its rows were written, if anything is.
pub fn lacking_commit_times(rules: &Rules, tracks: bool) -> Option<Finding> {
    if tracks {
        None
    } else if rules.uses(Policy::LatestWins) {
        let message = "track_commit_timestamp is off: latest_wins cannot tell when a row was written, and every change would win";
        Some(error(ITEM, PEER, message, FIX))
    } else if rules.uses_strict() {
        let message = "track_commit_timestamp is off: strict cannot tell who wrote a row last, and decides nothing";
        Some(warning(ITEM, PEER, message, FIX))
    } else {
        None
    }
}
