//! The extension's output plugin against PostgreSQL's own, on the same WAL.

use std::time::Duration;

use bytes::Bytes;
use pgrelay_applier::pg::{
    Endpoint,
    pgoutput::{self, Message},
    plugin::Plugin,
    replication::{Connection, Frame, Stream},
};
use pgrelay_core::Lsn;
use pgrelay_tests::{Cluster, ClusterOptions, Pair, Seed, pair::DB, wait_for_value};
use tokio_postgres::Client;

const LONG: Duration = Duration::from_secs(60);
/// The opposite direction's origin, one of its copies, and that of somebody else, whose name begins alike.
const ORIGINS: [&str; 3] = ["away", "away_copy_1", "away2"];

/// A server whose minor version knows no `output_plugin_libraries` allows every plugin.
async fn server() -> Cluster {
    let conf = "wal_level = logical\nlogical_decoding_work_mem = 64kB\n".to_owned();
    Cluster::start(ClusterOptions { name: "source".into(), conf, package: true }).await
}

async fn sql(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql:.500}: {e:?}"));
}

/// What a message says; without a transaction's own numbers, and nothing of the shape of tables, which comes with the first row of each.
fn told(message: &Bytes) -> Option<String> {
    Some(match pgoutput::decode(message, false).expect("a message of pgoutput") {
        Message::Relation { .. } | Message::Type { .. } => return None,
        Message::Origin { name, commit_lsn } => format!("origin {name} {commit_lsn}"),
        Message::Begin { final_lsn, .. } => format!("begin {final_lsn}"),
        Message::Commit { end_lsn, .. } => format!("commit {end_lsn}"),
        Message::Truncate { relations, .. } => format!("truncate {relations:?}"),
        Message::LogicalMessage { content, .. } => format!("message {content:?}"),
        Message::Insert { .. } | Message::Update { old: None, .. } => format!("row {message:?}"),
        Message::Update { .. } | Message::Delete { .. } => format!("key {message:?}"),
        other => panic!("{other:?} was not asked for"),
    })
}

fn is_whole(transaction: &[String]) -> bool {
    !transaction[0].starts_with("begin") || transaction.last().is_some_and(|last| last.starts_with("commit"))
}

/// Everything that a slot has, in transactions; its position stays.
async fn peek(client: &Client, slot: &str, plugin: Plugin, rest: &str) -> Vec<Vec<String>> {
    let options = "'proto_version', '1', 'publication_names', 'p,q', 'messages', 'on'";
    let sql = format!("SELECT data FROM pg_logical_slot_peek_binary_changes('{slot}', NULL, NULL, {options}{rest})");
    let mut transactions: Vec<Vec<String>> = vec![];
    for row in client.query(&sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")) {
        for message in plugin.messages(Bytes::copy_from_slice(row.get(0))) {
            let Some(told) = told(&message.expect("whole")) else { continue };
            // A message by itself stands between two.
            if told.starts_with("begin") || (told.starts_with("message") && !matches!(transactions.last(), Some(open) if !is_whole(open))) {
                transactions.push(vec![]);
            }
            transactions.last_mut().expect("a begin comes first").push(told);
        }
    }
    transactions
}

const OBJECTS: &str = "CREATE TABLE t (id int PRIMARY KEY, n int, v text);
    CREATE TABLE long_key (k text PRIMARY KEY, n int); ALTER TABLE long_key ALTER k SET STORAGE EXTERNAL;
    CREATE TABLE whole (id int, v text); ALTER TABLE whole REPLICA IDENTITY FULL;
    CREATE TABLE keyless (n int, v text); ALTER TABLE keyless REPLICA IDENTITY NOTHING;
    CREATE PUBLICATION p FOR ALL TABLES WITH (publish = 'insert, truncate'); CREATE PUBLICATION q FOR TABLE t, long_key, whole;";

/// A statement of a random kind.
fn statement(seed: &mut Seed) -> String {
    let (id, other, n) = (seed.below(40), seed.below(40), seed.below(1000));
    let long = format!("(SELECT string_agg(md5(({n} * 1000 + i)::text), '') FROM generate_series(1, {}) i)", 70 + seed.below(200));
    match seed.below(16) {
        0 | 1 => format!("INSERT INTO t VALUES ({id}, {n}, 'x') ON CONFLICT (id) DO UPDATE SET n = excluded.n"),
        2 => format!("INSERT INTO t VALUES ({id}, {n}, {long}) ON CONFLICT DO NOTHING"),
        3 => format!("UPDATE t SET n = {n} WHERE id = {id}"),
        4 => format!("UPDATE t SET v = {long} WHERE id < {id} AND id > {id} - 5"),
        5 => format!("UPDATE t SET id = {other}, v = {long} WHERE id = {id} AND NOT EXISTS (SELECT FROM t WHERE id = {other})"),
        6 => format!("UPDATE t SET id = {other} WHERE id = {id} AND NOT EXISTS (SELECT FROM t WHERE id = {other})"),
        7 => format!("DELETE FROM t WHERE id = {id}"),
        8 => format!("INSERT INTO long_key VALUES (left({long}, 2500), {n}) ON CONFLICT DO NOTHING"),
        9 => format!("UPDATE long_key SET n = {n}"),
        10 => format!(
            "UPDATE long_key SET k = left({long}, 2400) WHERE k = (SELECT min(k) FROM long_key) AND left({long}, 2400) NOT IN (SELECT k FROM long_key)"
        ),
        11 => format!("INSERT INTO whole SELECT i, {long} FROM generate_series(1, {}) i", id % 4),
        12 => format!("UPDATE whole SET v = 'y{n}' WHERE id = {}", id % 4),
        13 => format!("INSERT INTO keyless VALUES ({n}, {long})"),
        14 => format!("SELECT pg_logical_emit_message({}, 'pgrelay', '{n}')", n % 2 == 0),
        _ => format!("TRUNCATE {}", ["whole", "keyless", "long_key"][(n % 3) as usize]),
    }
}

/// Statements of one transaction, some of them in savepoints that are rolled back or not.
fn transaction(seed: &mut Seed) -> String {
    let mut statements = String::new();
    for _ in 0..1 + seed.below(6) {
        let statement = statement(seed);
        statements += &match seed.below(5) {
            0 => format!("SAVEPOINT s; {statement}; ROLLBACK TO s;"),
            1 => format!("SAVEPOINT s; {statement}; RELEASE s;"),
            _ => format!("{statement};"),
        };
    }
    statements
}

#[tokio::test]
async fn what_the_opposite_direction_wrote_is_left_out_but_for_what_takes_rows_away_and_its_place() {
    let server = server().await;
    let client = server.connect("postgres").await;
    let mut seed = Seed::from_env();
    sql(&client, OBJECTS).await;
    for slot in ["pgoutput", "pgrelay"] {
        sql(&client, &format!("SELECT pg_create_logical_replication_slot('{slot}', '{slot}')")).await;
    }
    let mut writers = vec![server.connect("postgres").await];
    for origin in ORIGINS {
        let writer = server.connect("postgres").await;
        sql(&writer, &format!("SELECT pg_replication_origin_create('{origin}'), pg_replication_origin_session_setup('{origin}')")).await;
        writers.push(writer);
    }
    let copied: Vec<String> = (0..60).map(|n| format!("{}\t{n}\t{}", 1000 + n, "long ".repeat(n * 40))).collect();
    for (n, writer) in writers.iter().enumerate() {
        let rows: Vec<String> = copied.iter().map(|row| format!("{n}{row}")).collect();
        let sink = writer.copy_in::<_, Bytes>("COPY t FROM STDIN").await.expect("a copy");
        let mut sink = std::pin::pin!(sink);
        futures_util::SinkExt::send(&mut sink, Bytes::from(rows.join("\n") + "\n")).await.expect("rows");
        sink.finish().await.expect("copied");
    }
    for position in 0..150 {
        let n = seed.below(4);
        let setup =
            if n == 0 { String::new() } else { format!("SELECT pg_replication_origin_xact_setup('0/{:X}', now());", 4096 + position) };
        let end = if seed.below(6) == 0 { "ROLLBACK" } else { "COMMIT" };
        sql(&writers[n as usize], &format!("BEGIN; {setup} {}; {end}", transaction(&mut seed))).await;
    }
    let all = peek(&client, "pgoutput", Plugin::Pgoutput, "").await;
    assert_eq!(peek(&client, "pgrelay", Plugin::Pgrelay, "").await, all, "without the option it is pgoutput");
    let is_away = |transaction: &[String]| {
        transaction.get(1).is_some_and(|of| of.starts_with("origin away ") || of.starts_with("origin away_copy_1 "))
    };
    let is_needed = |told: &&String| !told.starts_with("row ");
    let needed: Vec<Vec<String>> = all
        .iter()
        .map(|transaction| if is_away(transaction) { transaction.iter().filter(is_needed).cloned().collect() } else { transaction.clone() })
        .collect();
    let rows = |of: &[Vec<String>]| of.iter().flatten().filter(|told| told.starts_with("row ")).count();
    assert!(rows(&needed) * 4 < rows(&all) * 3 && needed.iter().any(|one| one.len() == 3), "{} of {} rows", rows(&needed), rows(&all));
    let left = peek(&client, "pgrelay", Plugin::Pgrelay, ", 'left_out', 'away'").await;
    // What had nothing that is published comes without a row, for its place.
    let told: Vec<Vec<String>> =
        left.into_iter().filter(|one| !is_away(one) || one.len() > 3 || all.iter().any(|all| all[0] == one[0])).collect();
    assert_eq!(told, needed);
}

async fn stream(server: &Cluster, from: Lsn, options: &[(&str, &str)]) -> Stream {
    let endpoint = Endpoint::resolve(&server.dsn("postgres"), &[]).expect("an endpoint");
    let connection = Connection::connect(&endpoint, "test", &[]).await.expect("connected");
    let all = [&[("proto_version", "1"), ("publication_names", "p")], options].concat();
    connection.start_replication("s", from, &all).await.expect("started")
}

/// Reads until a row has come with this text; false when the stream ends by an error before. `never`: what is left out.
async fn comes(stream: &mut Stream, text: &str, never: &str) -> bool {
    let holds = |payload: &[u8], text: &str| payload.windows(text.len()).any(|part| part == text.as_bytes());
    let coming = async {
        loop {
            match stream.next().await {
                Ok(Frame::Data { payload, .. }) => {
                    assert!(!holds(&payload, never), "{payload:?}");
                    if holds(&payload, text) {
                        return true;
                    }
                }
                Ok(Frame::Keepalive { .. }) => {}
                Err(error) => {
                    assert_eq!(error.server_sqlstate.as_deref(), Some("40001"), "{error}");
                    return false;
                }
            }
        }
    };
    tokio::time::timeout(LONG, coming).await.expect("in time")
}

#[tokio::test]
async fn who_takes_over_the_id_of_an_origin_that_was_left_out_loses_nothing() {
    let server = server().await;
    let client = server.connect("postgres").await;
    sql(&client, "CREATE TABLE t (v text); CREATE PUBLICATION p FOR TABLE t").await;
    sql(&client, "SELECT pg_create_logical_replication_slot('s', 'pgrelay')").await;
    let write = async |origin: &str, value: &str| {
        let session = server.connect("postgres").await;
        sql(&session, &format!("SELECT pg_replication_origin_create('{origin}'), pg_replication_origin_session_setup('{origin}')")).await;
        sql(&session, &format!("INSERT INTO t VALUES ('{value}')")).await;
        session
    };
    let id =
        async || client.query_one("SELECT roident::bigint FROM pg_replication_origin", &[]).await.expect("one origin").get::<_, i64>(0);
    let mut reading = stream(&server, Lsn(0), &[("left_out", "away")]).await;
    let session = write("away", "written away").await;
    let of_away = id().await;
    sql(&session, "INSERT INTO t VALUES ('written away too')").await;
    sql(&client, "INSERT INTO t VALUES ('written here')").await;
    assert!(comes(&mut reading, "written here", "written away").await);
    let passed: String = client.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.expect("a position").get(0);
    let passed: Lsn = passed.parse().expect("a position");
    sql(&session, "SELECT pg_replication_origin_session_reset(), pg_replication_origin_drop('away')").await;
    write("another", "written by another").await;
    assert_eq!(id().await, of_away);
    if !comes(&mut reading, "written by another", "written away").await {
        // From where it was applied.
        let mut again = stream(&server, passed, &[("left_out", "away")]).await;
        assert!(comes(&mut again, "written by another", "written away").await, "read again");
    }
}

/// The plugins of the slots of both servers.
async fn plugins(pair: &Pair) -> (String, String) {
    let sql = "SELECT string_agg(plugin, ',') FROM pg_replication_slots";
    (pair.source.psql(DB, sql).await, pair.peer.psql(DB, sql).await)
}

#[tokio::test]
async fn a_task_uses_the_plugin_where_the_server_has_and_allows_it_and_pgoutput_elsewhere() {
    let pair = Pair::start("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    pair.start_task(r#"{"topology": "two_way", "conflict_policy": "latest_wins", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", LONG).await;
    pair.source.psql(DB, "SELECT pgrelay.wait_for_state('move', 'running', '2 minutes', 'reverse')").await;
    assert_eq!(plugins(&pair).await, ("pgrelay".into(), "pgoutput".into()), "the peer has no library of ours");
    pair.source.psql(DB, "INSERT INTO t VALUES (1, 'from the source')").await;
    pair.peer.psql(DB, "INSERT INTO t VALUES (2, 'from the peer')").await;
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    wait_for_value(&source, "SELECT count(*)::text FROM t", "2", LONG).await;
    wait_for_value(&peer, "SELECT count(*)::text FROM t", "2", LONG).await;
}

#[tokio::test]
async fn a_plugin_that_is_forbidden_later_stops_the_task_with_what_to_do_and_nothing_is_lost() {
    let mut pair = Pair::start("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    if pair.source.psql(DB, "SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'").await == "0" {
        return;
    }
    pair.start_task(r#"{"acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", LONG).await;
    pair.source.psql(DB, "ALTER SYSTEM SET output_plugin_libraries = 'pgoutput'").await;
    pair.source.psql(DB, "SELECT pg_reload_conf()").await;
    pair.applier.restart();
    pair.source.psql(DB, "INSERT INTO t VALUES (1, 'meanwhile')").await;
    let client = pair.source_client().await;
    let said = "SELECT bool_or(error LIKE '%output_plugin_libraries%' OR error_hint LIKE '%output_plugin_libraries%')::text FROM pgrelay.task_status";
    wait_for_value(&client, said, "true", LONG).await;
    pair.source.psql(DB, "ALTER SYSTEM RESET output_plugin_libraries").await;
    pair.source.psql(DB, "SELECT pg_reload_conf()").await;
    if pair.source.psql(DB, "SELECT state FROM pgrelay.task_status").await == "failed" {
        pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    }
    pair.assert_equal_after_catchup(LONG).await;
}
