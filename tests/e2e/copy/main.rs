//! The copy of rows in chunks, while everything is written to, killed and resumed.

mod random;
mod resume;
