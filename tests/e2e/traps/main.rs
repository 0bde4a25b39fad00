//! What PostgreSQL does otherwise than one would think, each by row and as a backlog that is applied in sets.

mod columns;
mod keyless;
mod keys;
mod partitions;
mod settings;
mod triggers;
mod truncate;
