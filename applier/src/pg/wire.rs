//! Reading the fields of a message, bounds checked: what is too short is a protocol error, never a panic.

use pgrelay_core::error::{Error, Kind, Result};
use pgrelay_core::lsn::Lsn;

/// The unread rest of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

/// A protocol error that says what was being read.
pub(super) fn malformed(what: &str) -> Error {
    Error::new(Kind::Protocol, format!("malformed message from the server: {what}"))
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Fields { rest: message }
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or_else(|| malformed("it ends too early"))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk().ok_or_else(|| malformed("it ends too early"))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(super) fn lsn(&mut self) -> Result<Lsn> {
        Ok(Lsn(u64::from_be_bytes(self.array()?)))
    }

    /// A length that is not negative and fits into the rest.
    pub(super) fn length(&mut self) -> Result<usize> {
        usize::try_from(self.i32()?).ok().filter(|n| *n <= self.rest.len()).ok_or_else(|| malformed("a length is out of range"))
    }

    /// A string that ends with a zero byte, as bytes.
    pub(super) fn cstr(&mut self) -> Result<&'a [u8]> {
        let end = self.rest.iter().position(|b| *b == 0).ok_or_else(|| malformed("a string has no end"))?;
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    /// A string that ends with a zero byte and must be UTF-8.
    pub(super) fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.cstr()?).map_err(|_| malformed("a name is not UTF-8"))
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Fails when something is left over.
    pub(super) fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(malformed("it is longer than its fields")) }
    }
}
