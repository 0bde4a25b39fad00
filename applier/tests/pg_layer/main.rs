//! The protocol layer against a real server: every way in, the pinned settings, the stream of changes.

mod cluster;
mod sessions;
mod streams;
