//! The copy of rows in chunks, while everything is written to, killed and resumed.

mod failures;
mod random;
mod resume;
mod shapes;
mod slot;
