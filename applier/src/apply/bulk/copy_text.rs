//! Rows in the text format of COPY.

use bytes::{BufMut, Bytes, BytesMut};

/// Rows that are put together one by one.
#[derive(Debug, Default)]
pub struct CopyText {
    text: BytesMut,
    rows: u64,
    begun: bool,
}

impl CopyText {
    /// Adds a value to the row at hand.
    pub fn push(&mut self, value: Option<&[u8]>) {
        if self.begun {
            self.text.put_u8(b'\t');
        }
        self.begun = true;
        let Some(mut rest) = value else {
            self.text.extend_from_slice(b"\\N");
            return;
        };
        while let Some(at) = rest.iter().position(|b| matches!(b, b'\\' | b'\n' | b'\r' | b'\t')) {
            self.text.extend_from_slice(&rest[..at]);
            let escaped = match rest[at] {
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                other => other,
            };
            self.text.extend_from_slice(&[b'\\', escaped]);
            rest = &rest[at + 1..];
        }
        self.text.extend_from_slice(rest);
    }

    /// The row at hand is complete.
    pub fn end_row(&mut self) {
        self.text.put_u8(b'\n');
        self.rows += 1;
        self.begun = false;
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Takes the rows out: the text, and how many there are.
    pub fn take(&mut self) -> (Bytes, u64) {
        let CopyText { text, rows, .. } = std::mem::take(self);
        (text.freeze(), rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_copy_would_read_otherwise() {
        let mut rows = CopyText::default();
        for value in [Some("a,b"), None, Some(""), Some("\\N"), Some("t\tn\nr\r")] {
            rows.push(value.map(str::as_bytes));
        }
        rows.end_row();
        rows.push(Some(b"\\."));
        rows.end_row();
        let (text, count) = rows.take();
        assert_eq!(text.as_ref(), b"a,b\t\\N\t\t\\\\N\tt\\tn\\nr\\r\n\\\\.\n");
        assert_eq!((count, rows.take()), (2, (Bytes::new(), 0)));
    }
}
