//! The protocol layer against a real server: every way in, the pinned settings, rows by COPY, the stream of changes.

mod cluster;
mod pipes;
mod sessions;
mod streams;
