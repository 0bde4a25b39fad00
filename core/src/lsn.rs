//! A position in the write-ahead log.

use std::{fmt, str::FromStr};

use crate::error::{Error, Kind};

/// A byte position in the WAL, written `16/B374D848`. Zero is no position (`InvalidXLogRecPtr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 as u32)
    }
}

impl FromStr for Lsn {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        let invalid = || Error::new(Kind::Protocol, format!("\"{s}\" is not a WAL position"));
        let (hi, lo) = s.split_once('/').ok_or_else(invalid)?;
        let hi = u32::from_str_radix(hi, 16).map_err(|_| invalid())?;
        let lo = u32::from_str_radix(lo, 16).map_err(|_| invalid())?;
        Ok(Lsn(u64::from(hi) << 32 | u64::from(lo)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for s in ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(s.parse::<Lsn>().expect("valid").to_string(), s);
        }
        for s in ["", "16", "16/", "/1", "1/100000000", "G/1"] {
            assert!(s.parse::<Lsn>().is_err(), "{s}");
        }
    }
}
