//! The output plugins by which a slot is read: PostgreSQL's own `pgoutput`, and the extension's, which sends the same messages, many in one.

use bytes::{Buf, Bytes};
use pgrelay_core::error::Result;

use super::wire::malformed;

/// What decodes a slot. A slot is read by the one that it was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// PostgreSQL's own.
    Pgoutput,
    /// The extension's: needs its library on the server, and from the minor versions of August 2026 on its name in
    /// `output_plugin_libraries`.
    Pgrelay,
}

impl Plugin {
    /// Its name in `pg_replication_slots`.
    pub fn name(self) -> &'static str {
        match self {
            Plugin::Pgoutput => "pgoutput",
            Plugin::Pgrelay => "pgrelay",
        }
    }

    /// The messages of pgoutput in what the plugin has sent.
    pub fn messages(self, sent: Bytes) -> Messages {
        Messages { plugin: self, sent }
    }
}

/// Iterator over the messages in one of the plugin's.
pub struct Messages {
    plugin: Plugin,
    sent: Bytes,
}

impl Iterator for Messages {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Result<Bytes>> {
        if self.sent.is_empty() {
            return None;
        }
        if self.plugin == Plugin::Pgoutput {
            return Some(Ok(std::mem::take(&mut self.sent)));
        }
        let mut rest = std::mem::take(&mut self.sent);
        let length = rest.try_get_u32().ok().and_then(|length| usize::try_from(length).ok());
        match length {
            Some(length) if length > 0 && length <= rest.len() => {
                let message = rest.split_to(length);
                self.sent = rest;
                Some(Ok(message))
            }
            _ => Some(Err(malformed("the length of one of several messages is wrong"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(plugin: Plugin, sent: &'static [u8]) -> Vec<Option<&'static [u8]>> {
        let all = plugin.messages(Bytes::from_static(sent));
        all.map(|message| message.ok().map(|message| &*message.to_vec().leak())).collect()
    }

    #[test]
    fn several_messages_are_told_apart_by_their_lengths() {
        assert_eq!(messages(Plugin::Pgoutput, b"whole"), [Some(&b"whole"[..])]);
        assert_eq!(messages(Plugin::Pgrelay, b"\0\0\0\x02ab\0\0\0\x01c"), [Some(&b"ab"[..]), Some(&b"c"[..])]);
        assert_eq!(messages(Plugin::Pgrelay, b""), []);
    }

    #[test]
    fn a_wrong_length_is_an_error_and_ends_them() {
        for wrong in [&b"\0\0\0\x02a"[..], b"\0\0\0\0", b"\0\0", b"\xff\xff\xff\xffabc"] {
            assert_eq!(messages(Plugin::Pgrelay, wrong), [None], "{wrong:?}");
        }
        assert_eq!(messages(Plugin::Pgrelay, b"\0\0\0\x01a\0\0\0\x09b"), [Some(&b"a"[..]), None]);
    }
}
