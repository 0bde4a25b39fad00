//! `pgrelay-applier`: see `--help`.
fn main() {}
