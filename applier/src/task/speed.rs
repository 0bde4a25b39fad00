//! How fast something goes, over the last seconds, and when it will be done.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use pgrelay_core::name::TableName;
use tokio::time::Instant;

use crate::progress::{TableProgress, TableState};

/// Over how long a speed is measured.
const SPAN: Duration = Duration::from_secs(5);

/// Before this much has been seen nothing is said.
const LEAST: Duration = Duration::from_secs(1);

/// What a table counts at least, in bytes: one page.
const PAGE: i64 = 8192;

/// Tables of unknown size may be this part of what is left, or there is no telling when it will be done.
const UNKNOWN_AT_MOST: f64 = 0.05;

/// Numbers that grow, with the time each was seen.
#[derive(Debug)]
pub struct Speed<const N: usize> {
    seen: VecDeque<(Instant, [f64; N])>,
}

impl<const N: usize> Default for Speed<N> {
    fn default() -> Self {
        Speed { seen: VecDeque::new() }
    }
}

impl<const N: usize> Speed<N> {
    /// The numbers now; per second, of late. None: not enough was seen. What has become less has begun anew.
    pub fn look(&mut self, now: Instant, values: [f64; N]) -> Option<[f64; N]> {
        if self.seen.back().is_some_and(|(_, last)| last.iter().zip(values).any(|(last, value)| value < *last)) {
            self.seen.clear();
        }
        // One that is older than the span stays, so that the span is whole.
        while self.seen.get(1).is_some_and(|(at, _)| now - *at >= SPAN) {
            self.seen.pop_front();
        }
        self.seen.push_back((now, values));
        let (since, first) = self.seen.front()?;
        let time = now - *since;
        (time >= LEAST).then(|| std::array::from_fn(|n| (values[n] - first[n]) / time.as_secs_f64()))
    }
}

/// The copy of a task: the speed of each table under way, and the time that all of it still takes.
#[derive(Debug, Default)]
pub struct CopySpeed {
    tables: HashMap<TableName, Speed<2>>,
    all: Speed<1>,
}

impl CopySpeed {
    /// Rows and bytes per second of each table whose rows are being copied.
    pub fn of_tables(&mut self, now: Instant, tables: &[(TableName, TableProgress)]) -> HashMap<TableName, [f64; 2]> {
        let under_way = |p: &TableProgress| p.state == TableState::DataSync;
        let mut before = std::mem::take(&mut self.tables);
        let mut speeds = HashMap::new();
        for (table, p) in tables.iter().filter(|(_, p)| under_way(p)) {
            let mut speed = before.remove(table).unwrap_or_default();
            speeds.extend(speed.look(now, [p.rows as f64, p.bytes as f64]).map(|s| (table.clone(), s)));
            self.tables.insert(table.clone(), speed);
        }
        speeds
    }

    /// How long it will be until the rows of all tables are there; none when that cannot be known. Each table counts by its size.
    pub fn time_left(&mut self, now: Instant, tables: &[(TableName, TableProgress)]) -> Option<Duration> {
        let (mut done, mut left, mut unknown) = (0.0, 0.0, 0.0);
        for (_, p) in tables {
            let size = p.bytes_estimated.max(PAGE) as f64;
            let part = part_done(p);
            done += size * part.unwrap_or_default();
            left += size * (1.0 - part.unwrap_or_default());
            unknown += if part.is_none() { size } else { 0.0 };
        }
        let [speed] = self.all.look(now, [done])?;
        (speed > 0.0 && unknown <= UNKNOWN_AT_MOST * left).then(|| Duration::try_from_secs_f64(left / speed).ok()).flatten()
    }
}

/// The part of a table's rows that is there, below 1 until all are; none when nobody knows how many there are.
fn part_done(p: &TableProgress) -> Option<f64> {
    match p.state {
        TableState::Init if p.rows_estimated >= 0 => Some(0.0),
        TableState::DataSync if p.rows < p.rows_estimated => Some(p.rows as f64 / p.rows_estimated as f64),
        TableState::Init | TableState::DataSync => None,
        TableState::FinishedCopy | TableState::SyncDone | TableState::Ready => Some(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn table(name: &str, state: TableState, rows: i64, of: i64, size: i64) -> (TableName, TableProgress) {
        let progress = TableProgress { rows, bytes: rows * 10, ..TableProgress::new(state, of, size) };
        (TableName::new("s", name), progress)
    }

    #[test]
    fn a_speed_is_that_of_the_last_seconds() {
        let (start, mut speed) = (Instant::now(), Speed::default());
        assert_eq!(speed.look(start, [100.0]), None);
        assert_eq!(speed.look(start + SECOND / 2, [150.0]), None, "half a second says nothing");
        for second in 1..=10 {
            assert_eq!(speed.look(start + SECOND * second, [100.0 + 100.0 * f64::from(second)]), Some([100.0]));
        }
        for second in 11..=14 {
            speed.look(start + SECOND * second, [1100.0]);
        }
        assert_eq!(speed.look(start + SECOND * 15, [1100.0]), Some([0.0]), "it stands");
        assert_eq!(speed.look(start + SECOND * 16, [10.0]), None, "it has begun anew");
    }

    #[test]
    fn the_time_left_is_that_of_all_rows_by_size_and_is_not_told_when_nobody_knows() {
        use TableState::*;
        let start = Instant::now();
        let after = |tables: [Vec<(TableName, TableProgress)>; 2]| {
            let mut speed = CopySpeed::default();
            assert_eq!(speed.time_left(start, &tables[0]), None);
            speed.time_left(start + SECOND * 2, &tables[1])
        };
        let (done, waits) = (table("a", Ready, 70, 50, 1 << 30), table("c", Init, 0, 100, 2 << 30));
        let at = |rows| table("b", DataSync, rows, 100, 1 << 30);
        // 10 % of a GB in two seconds, 80 % of it and two others left.
        let known = after([vec![done.clone(), at(10), waits.clone()], vec![done.clone(), at(20), waits.clone()]]);
        assert_eq!(known.map(|d| d.as_secs_f64().round()), Some(56.0));
        assert_eq!(after([vec![at(10)], vec![at(10)]]), None, "it stands");
        assert_eq!(after([vec![at(10), waits.clone()], vec![at(100), waits.clone()]]), None, "more rows than was thought");
        let never = table("n", Init, 0, -1, 1 << 30);
        assert_eq!(after([vec![at(10), never.clone()], vec![at(20), never]]), None, "never analyzed");
        let small = table("n", Init, 0, -1, 0);
        assert!(after([vec![at(10), small.clone()], vec![at(20), small]]).is_some(), "a page more or less does not matter");
    }
}
