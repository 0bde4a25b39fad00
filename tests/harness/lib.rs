//! Clusters, databases and appliers for tests.
