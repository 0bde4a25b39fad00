//! PostgreSQL's text form of an array with one dimension.

use bytes::{BufMut, Bytes, BytesMut};

use super::net::Cell;

/// Elements that are put together one by one.
pub struct Array {
    text: BytesMut,
}

impl Array {
    /// None yet.
    pub fn new() -> Array {
        let mut text = BytesMut::new();
        text.put_u8(b'{');
        Array { text }
    }

    /// Adds an element; a value that is not known counts as NULL.
    pub fn push(&mut self, cell: &Cell) {
        match cell {
            Cell::Value(value) => self.push_value(value),
            Cell::Null | Cell::Kept => {
                self.separate();
                self.text.extend_from_slice(b"NULL");
            }
        }
    }

    /// Adds an element that is not NULL.
    pub fn push_value(&mut self, value: &[u8]) {
        self.separate();
        self.text.reserve(value.len() + 2);
        self.text.put_u8(b'"');
        let mut rest = value;
        while let Some(at) = rest.iter().position(|b| matches!(b, b'"' | b'\\')) {
            self.text.extend_from_slice(&rest[..at]);
            self.text.put_u8(b'\\');
            self.text.put_u8(rest[at]);
            rest = &rest[at + 1..];
        }
        self.text.extend_from_slice(rest);
        self.text.put_u8(b'"');
    }

    fn separate(&mut self) {
        if self.text.len() > 1 {
            self.text.put_u8(b',');
        }
    }

    /// As it is sent.
    pub fn finish(mut self) -> Bytes {
        self.text.put_u8(b'}');
        self.text.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_what_an_array_would_read_otherwise() {
        let mut array = Array::new();
        for value in ["", "a", "NULL", "a,b", "{}", "\"", "\\", "tab\t"] {
            array.push(&Cell::Value(Bytes::from_static(value.as_bytes())));
        }
        array.push(&Cell::Null);
        assert_eq!(array.finish().as_ref(), br#"{"","a","NULL","a,b","{}","\"","\\","tab	",NULL}"#);
        assert_eq!(Array::new().finish().as_ref(), b"{}");
    }
}
