//! Which tables are copied together, and in which order.

use super::Job;

/// A table below this size, in bytes on the source, shares a lot with others: what it costs beside its rows would be most of it.
pub const SMALL: i64 = 1 << 20;

/// Tables of a lot at most: each is locked on both sides while the lot is copied.
pub const LOT_TABLES: usize = 50;

/// Bytes of a lot at most, so that its snapshot lives no longer than that of a table of moderate size.
const LOT_BYTES: i64 = 4 << 20;

/// Largest first. Lots of small tables, not so many in each that a worker would have none.
pub fn lots(mut jobs: Vec<(i64, Job)>, workers: usize) -> Vec<Vec<Job>> {
    jobs.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.table.cmp(&other.table)));
    let tables = (jobs.len() / workers.max(1)).clamp(1, LOT_TABLES);
    let mut lots: Vec<Vec<Job>> = vec![];
    let mut bytes = i64::MAX;
    for (size, job) in jobs {
        bytes = bytes.saturating_add(size);
        match lots.last_mut().filter(|lot| size <= SMALL && bytes <= LOT_BYTES && lot.len() < tables) {
            Some(lot) => lot.push(job),
            None => {
                bytes = if size <= SMALL { size } else { i64::MAX };
                lots.push(vec![job]);
            }
        }
    }
    lots
}

#[cfg(test)]
mod tests {
    use pgrelay_core::name::TableName;

    use super::*;

    #[test]
    fn large_tables_go_first_and_alone_and_small_ones_share_a_lot() {
        let job = |n: usize| Job {
            table: TableName::new("s", format!("t{n}")),
            oid: n as u32,
            after: vec![],
            by_key: true,
            settings: None,
            kept: false,
            is_analyzed: false,
        };
        let sizes = [8192, 50 << 20, 900 << 10, 2 << 20, 800 << 10, 8192, 900 << 10, 900 << 10, 900 << 10];
        let lots_of = |workers| lots(sizes.iter().enumerate().map(|(n, size)| (*size, job(n))).collect(), workers);
        let names = |lots: Vec<Vec<Job>>| {
            lots.iter().map(|l| l.iter().map(|j| j.table.name.clone()).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(names(lots_of(1)), ["t1", "t3", "t2 t6 t7 t8", "t4 t0 t5"]);
        assert_eq!(names(lots_of(9)).len(), 9, "no worker is left without work");
    }
}
