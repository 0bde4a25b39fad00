//! Rows from one server to another by COPY.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use pgrelay_applier::pg::pipe::{Meter, NoMeter, Poured, Session, Statements, array, pour};
use pgrelay_core::error::{Kind, Result};
use tokio::time::timeout;

use crate::cluster::Cluster;

/// Counts what the thread has allocated. A test runs on one thread, so it counts that test alone.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let live = LIVE.with(|l| l.replace(l.get() + bytes)) + bytes;
    PEAK.with(|p| p.set(p.get().max(live)));
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Two sessions of one server, which has the tables `public.a` and, of the same columns, `public.b`.
struct Ends {
    cluster: Cluster,
    source: Session,
    peer: Session,
}

impl Ends {
    async fn start(columns: &str, rows: &str) -> Ends {
        Ends::over("user=scram_user sslmode=disable", columns, rows).await
    }

    async fn over(way: &str, columns: &str, rows: &str) -> Ends {
        let cluster = Cluster::start().await;
        let tables = format!(
            "CREATE TABLE public.a ({columns}); CREATE TABLE public.b (LIKE public.a INCLUDING ALL); {rows};
             GRANT ALL ON public.a, public.b TO scram_user; GRANT SET ON PARAMETER session_replication_role TO scram_user"
        );
        cluster.client().await.batch_execute(&tables).await.expect("made");
        let ep = if way == "socket" { cluster.socket() } else { cluster.tcp(way) };
        let connect = async || Session::connect(&ep, "pipe", &[("session_replication_role", "replica")]).await;
        let (source, peer) = (connect().await.expect("connected"), connect().await.expect("connected"));
        Ends { cluster, source, peer }
    }

    async fn pour(&mut self, format: &str, meter: &mut impl Meter) -> Result<Poured> {
        self.pour_by(&format!("COPY public.a TO STDOUT (FORMAT {format})"), format, meter).await
    }

    async fn pour_by(&mut self, out: &str, format: &str, meter: &mut impl Meter) -> Result<Poured> {
        let into = format!("COPY public.b FROM STDIN (FORMAT {format})");
        let statements = Statements { out, into: &into, binary: format == "binary", doing: "copy table \"public.a\"" };
        let poured = pour(&mut self.source, &mut self.peer, statements, meter);
        timeout(Duration::from_secs(120), poured).await.expect("in time")
    }

    /// Both sessions take commands; then the peer's table is emptied.
    async fn both_usable(&mut self) {
        for session in [&mut self.source, &mut self.peer] {
            session.run("ROLLBACK", "roll back").await.expect("usable");
            assert_eq!(session.run("SELECT 1", "ask").await.expect("usable"), [[Some("1".to_owned())]]);
        }
        self.peer.run("TRUNCATE public.b", "empty").await.expect("usable");
    }

    async fn differing(&mut self) -> String {
        let sql =
            "SELECT count(*) FROM ((TABLE public.a EXCEPT ALL TABLE public.b) UNION ALL (TABLE public.b EXCEPT ALL TABLE public.a)) d";
        self.peer.run(sql, "compare").await.expect("compared")[0][0].clone().expect("a number")
    }

    /// Until no session runs COPY any more.
    async fn nothing_copies(&self) {
        let client = self.cluster.client().await;
        let sql = "SELECT count(*) FROM pg_stat_progress_copy";
        let ended = async { while client.query_one(sql, &[]).await.expect("row").get::<_, i64>(0) > 0 {} };
        timeout(Duration::from_secs(20), ended).await.expect("COPY has ended");
    }
}

#[derive(Default)]
struct Sum {
    rows: u64,
    bytes: u64,
    calls: u64,
}

impl Meter for Sum {
    async fn passed(&mut self, rows: u64, bytes: u64) {
        self.rows += rows;
        self.bytes += bytes;
        self.calls += 1;
    }
}

#[tokio::test]
async fn every_row_arrives_in_either_format_over_every_kind_of_socket() {
    let rows =
        "INSERT INTO public.a SELECT n, CASE WHEN n % 7 > 0 THEN repeat(chr(n % 1000 + 32), n % 900) END FROM generate_series(1, 20000) n";
    for way in ["user=scram_user sslmode=disable", "user=scram_user sslmode=require", "socket"] {
        let mut ends = Ends::over(way, "id bigint, v text", rows).await;
        for format in ["text", "binary"] {
            let mut sum = Sum::default();
            let poured = ends.pour(format, &mut sum).await.expect("copied");
            assert_eq!((poured.sent, poured.written), (20_000, 20_000), "{way} {format}");
            assert_eq!((sum.rows, sum.bytes), (20_000, poured.bytes), "{way} {format}");
            assert!(sum.calls > poured.bytes / 100_000 && sum.calls < 5_000, "{way} {format}: {} calls", sum.calls);
            assert_eq!(ends.differing().await, "0", "{way} {format}");
            ends.both_usable().await;
        }
    }
}

#[tokio::test]
async fn empty_and_column_less_tables() {
    for (columns, rows, count) in [("id int", "SELECT 1", 0), ("", "INSERT INTO public.a SELECT FROM generate_series(1, 3)", 3)] {
        let mut ends = Ends::start(columns, rows).await;
        for format in ["text", "binary"] {
            let mut sum = Sum::default();
            let poured = ends.pour(format, &mut sum).await.expect("copied");
            assert_eq!((poured.sent, poured.written, sum.rows), (count, count, count), "({columns}) {format}");
            ends.both_usable().await;
        }
    }
}

#[tokio::test]
async fn a_row_of_60_mb_costs_no_memory() {
    let mut ends = Ends::start("v text", "INSERT INTO public.a SELECT repeat('0123456789', 6000000)").await;
    for format in ["text", "binary"] {
        let before = LIVE.with(Cell::get);
        PEAK.with(|p| p.set(before));
        let poured = ends.pour(format, &mut NoMeter).await.expect("copied");
        let peak = PEAK.with(Cell::get) - before;
        assert!(poured.bytes > 60_000_000 && poured.written == 1, "{poured:?}");
        assert!(peak < 512 * 1024, "{format}: {peak} bytes");
        ends.peer.run("DO $$ BEGIN ASSERT (SELECT v FROM public.a) = (SELECT v FROM public.b); END $$", "compare").await.expect("equal");
        ends.both_usable().await;
    }
}

#[tokio::test]
async fn the_cause_is_told_whichever_side_fails_and_when() {
    let rows = "INSERT INTO public.a SELECT n, repeat('x', 500) FROM generate_series(1, 200000) n";
    let mut ends = Ends::start("id int, v text", rows).await;
    let superuser = ends.cluster.client().await;
    let late = "COPY (SELECT id, v || 1 / (199999 - id) FROM public.a) TO STDOUT";
    // The peer refuses a row early, in the middle, and when all have been sent.
    for check in ["id < 3", "id < 100000", "id < 200000"] {
        let sql = format!("ALTER TABLE public.b ADD CONSTRAINT c CHECK ({check})");
        superuser.batch_execute(&sql).await.expect("added");
        ends.peer.run("BEGIN", "begin").await.expect("begun");
        let error = ends.pour("text", &mut NoMeter).await.expect_err(check);
        assert_eq!((error.server_sqlstate.as_deref(), error.object.as_deref()), (Some("23514"), Some("public.b")), "{error:?}");
        ends.both_usable().await;
        superuser.batch_execute("ALTER TABLE public.b DROP CONSTRAINT c").await.expect("dropped");
    }
    // The source fails before its first row, and behind a hundred MB.
    for (out, state) in [("COPY public.nothing TO STDOUT", "42P01"), (late, "22012")] {
        ends.peer.run("BEGIN", "begin").await.expect("begun");
        let error = ends.pour_by(out, "text", &mut NoMeter).await.expect_err(out);
        assert_eq!(error.server_sqlstate.as_deref(), Some(state), "{error:?}");
        ends.both_usable().await;
        assert_eq!(ends.peer.run("SELECT FROM public.b", "look").await.expect("usable").len(), 0);
    }
    // The statement of the peer is refused; then the source must not go on sending.
    superuser.batch_execute("ALTER TABLE public.b RENAME TO c").await.expect("renamed");
    let error = ends.pour("text", &mut NoMeter).await.expect_err("no table");
    assert_eq!(error.server_sqlstate.as_deref(), Some("42P01"), "{error:?}");
    superuser.batch_execute("ALTER TABLE public.c RENAME TO b").await.expect("renamed");
    ends.both_usable().await;
    ends.nothing_copies().await;
}

/// Ends a session of the server in the middle of the copy.
struct Killer {
    client: tokio_postgres::Client,
    victim: i32,
}

impl Meter for Killer {
    async fn passed(&mut self, _: u64, _: u64) {
        self.client.execute("SELECT pg_terminate_backend($1, 10000)", &[&self.victim]).await.expect("ended");
    }
}

#[tokio::test]
async fn a_session_that_is_killed_says_so_and_the_other_stays_usable() {
    let rows = "INSERT INTO public.a SELECT n, repeat('x', 500) FROM generate_series(1, 200000) n";
    let mut ends = Ends::start("id int, v text", rows).await;
    for victim in ["source", "peer"] {
        let session = if victim == "source" { &mut ends.source } else { &mut ends.peer };
        let pid = session.run("SELECT pg_backend_pid()", "ask").await.expect("usable")[0][0].clone().expect("a number");
        let mut killer = Killer { client: ends.cluster.client().await, victim: pid.parse().expect("a number") };
        let error = ends.pour("text", &mut killer).await.expect_err(victim);
        assert_eq!(error.kind, Kind::Connection, "{victim}: {error:?}");
        let (killed, other) = if victim == "source" { (&mut ends.source, &mut ends.peer) } else { (&mut ends.peer, &mut ends.source) };
        assert!(!killed.is_usable(), "{victim}");
        other.run("SELECT 1", "ask").await.unwrap_or_else(|e| panic!("the other than the {victim}: {e:?}"));
        let again = Session::connect(&ends.cluster.tcp("user=scram_user"), "pipe", &[]).await.expect("connected");
        *killed = again;
    }
}

#[tokio::test]
async fn a_dropped_copy_leaves_nothing_running() {
    let rows = "INSERT INTO public.a SELECT n, repeat('x', 500) FROM generate_series(1, 200000) n";
    let mut ends = Ends::start("id int, v text", rows).await;
    struct Forever;
    impl Meter for Forever {
        async fn passed(&mut self, _: u64, _: u64) {
            std::future::pending().await
        }
    }
    let statements = Statements { out: "COPY public.a TO STDOUT", into: "COPY public.b FROM STDIN", binary: false, doing: "copy" };
    timeout(Duration::from_millis(300), pour(&mut ends.source, &mut ends.peer, statements, &mut Forever)).await.expect_err("held up");
    assert!(!ends.source.is_usable() && !ends.peer.is_usable());
    let error = ends.source.run("SELECT 1", "ask").await.expect_err("unusable");
    assert_eq!(error.kind, Kind::Connection);
    let Ends { cluster, source, peer } = ends;
    drop((source, peer));
    let client = cluster.client().await;
    let gone = async {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pipe'";
        while client.query_one(sql, &[]).await.expect("row").get::<_, i64>(0) > 0 {}
    };
    timeout(Duration::from_secs(20), gone).await.expect("the sessions have ended");
}

#[tokio::test]
async fn statements_with_parameters_and_their_errors() {
    let mut ends = Ends::start("id int", "SELECT 1").await;
    let session = &mut ends.source;
    let rows =
        session.query("SELECT u, $2::int + 1 FROM unnest($1::text[]) u", &[&array(["it's", "a\"\\b"]), "41"], "ask").await.expect("rows");
    assert_eq!(rows, [["it's", "42"], ["a\"\\b", "42"]].map(|row| row.map(|v| Some(v.to_owned()))));
    let error = session.query("SELECT $1::int", &["sEcret"], "ask").await.expect_err("no number");
    assert_eq!(error.server_sqlstate.as_deref(), Some("22P02"));
    assert!(!format!("{error:?}").contains("sEcret"), "{error:?}");
    assert_eq!(session.run("SHOW DateStyle; SELECT NULL", "ask").await.expect("rows"), [[None::<String>]], "the last result");
    assert_eq!(session.run("SHOW search_path", "ask").await.expect("rows")[0][0].as_deref(), Some(""));
    let setting = session.run("SHOW session_replication_role", "ask").await.expect("rows");
    assert_eq!(setting[0][0].as_deref(), Some("replica"));
}
