//! Servers, appliers and load for the tests, and what the tests compare.
//!
//! Everything started here ends with the test, also when it panics or is killed.

pub mod applier;
pub mod cluster;
#[cfg(debug_assertions)]
mod crash;
pub mod equal;
pub mod left;
pub mod load;
pub mod package;
pub mod pair;
pub mod process;
pub mod proxy;
pub mod schema;
pub mod seed;
pub mod wait;

pub use applier::Applier;
pub use cluster::{Cluster, ClusterOptions};
pub use equal::{assert_equal, assert_tables_equal};
pub use load::{Pgbench, Writers};
pub use package::Package;
pub use pair::Pair;
pub use seed::Seed;
pub use wait::{wait_for_value, wait_until};
