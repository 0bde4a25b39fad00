use std::time::Duration;

use bytes::Bytes;
use pgrelay_applier::pg::pgoutput::{Column, Message, OldKind, decode};
use pgrelay_applier::pg::replication::{Connection, Frame, Stream};
use pgrelay_core::error::Kind;
use pgrelay_core::lsn::Lsn;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::cluster::Cluster;

const PGOUTPUT: &[(&str, &str)] = &[("proto_version", "1"), ("publication_names", "\"p\"")];

async fn receiving(cluster: &Cluster, rest: &str) -> Connection {
    Connection::connect(&cluster.tcp(rest), "test", &[("logical_decoding_work_mem", "64kB")]).await.expect("connected")
}

/// A publication of everything, a slot and its stream.
async fn stream(cluster: &Cluster, setup: &str, options: &[(&str, &str)]) -> (Client, Stream) {
    let client = cluster.client().await;
    client.batch_execute(&format!("SET search_path = public; {setup}; CREATE PUBLICATION p FOR ALL TABLES")).await.expect("set up");
    let mut connection = receiving(cluster, "user=scram_user sslmode=require").await;
    let slot = connection.create_logical_slot("s", "pgoutput").await.expect("made");
    assert!(slot.name == "s" && slot.consistent_point > Lsn(0));
    (client, connection.start_replication("s", Lsn(0), options).await.expect("started"))
}

/// The next message of the plugin; keepalives are answered.
async fn data(stream: &mut Stream) -> Bytes {
    loop {
        match timeout(Duration::from_secs(60), stream.next()).await.expect("in time").expect("a frame") {
            Frame::Data { payload, wal_start, wal_end, .. } => {
                assert!(wal_start <= wal_end);
                return payload;
            }
            Frame::Keepalive { wal_end, reply_requested: true } => stream.send_status(wal_end, Lsn(0), Lsn(0), false).await.expect("sent"),
            Frame::Keepalive { .. } => {}
        }
    }
}

/// The messages of the next transaction, as text.
async fn transaction(stream: &mut Stream) -> Vec<String> {
    let mut out = Vec::new();
    loop {
        let payload = data(stream).await;
        let text = |columns: &mut dyn Iterator<Item = Column<'_>>| -> String {
            columns
                .map(|c| match c {
                    Column::Null => "-".into(),
                    Column::UnchangedToast => "~".into(),
                    Column::Text(t) if t.len() > 100 => format!("<{}>", t.len()),
                    Column::Text(t) => String::from_utf8_lossy(t).into_owned(),
                    Column::Binary(b) => format!("{b:?}"),
                })
                .collect::<Vec<_>>()
                .join(",")
        };
        out.push(match decode(&payload, false).expect("valid") {
            Message::Begin { .. } => continue,
            Message::Commit { commit_lsn, end_lsn, .. } => {
                assert!(commit_lsn < end_lsn);
                return out;
            }
            Message::Relation { schema, name, columns, .. } => {
                format!("relation {schema}.{name} {}", columns.iter().map(|c| c.name).collect::<Vec<_>>().join(","))
            }
            Message::Insert { new, .. } => format!("insert {}", text(&mut new.columns())),
            Message::Update { old, new, .. } => {
                let old = old.map_or(String::new(), |(kind, old)| {
                    format!("{} ", if kind == OldKind::Key { format!("key {}", text(&mut old.columns())) } else { "full".into() })
                });
                format!("update {old}{}", text(&mut new.columns()))
            }
            Message::Delete { old, .. } => format!("delete {}", text(&mut old.columns())),
            Message::Truncate { relations, cascade, restart_identity, .. } => {
                format!("truncate {} {cascade} {restart_identity}", relations.len())
            }
            Message::LogicalMessage { prefix, content, transactional, .. } => format!("message {prefix} {} {transactional}", content.len()),
            other => format!("{other:?}"),
        });
    }
}

#[tokio::test]
async fn every_way_in_for_receiving_too() {
    let cluster = Cluster::start().await;
    for text in [
        "user=scram_user sslmode=disable",
        "user=scram_user sslmode=require channel_binding=require",
        "user=scram_user sslmode=require channel_binding=disable",
        "user=scram_user sslmode=verify-full sslrootcert=DIR/ca.crt channel_binding=require",
        "user=scram_user sslmode=verify-ca sslrootcert=DIR/ca.crt ssl_max_protocol_version=TLSv1.2 channel_binding=require",
        "user=only_tls sslmode=allow",
        "user=only_plain sslmode=prefer",
        "user=md5_user sslmode=disable",
        "user=clear_user sslmode=require",
        "user=tls_user sslmode=verify-full sslrootcert=DIR/ca.crt sslcert=DIR/client.crt sslkey=DIR/client.key",
    ] {
        let mut connection = receiving(&cluster, text).await;
        assert!(connection.server_version_num() >= 150000);
        let rows = connection.simple_query("SHOW search_path").await.expect("answered");
        assert_eq!(rows, [[Some(String::new())]], "{text}");
        connection.close().await.expect("closed");
    }
    for (text, kind, part) in [
        ("user=clear_user sslmode=disable", Kind::Configuration, "clear text"),
        ("user=scram_user sslmode=disable channel_binding=require", Kind::Configuration, "channel binding"),
        ("user=md5_user sslmode=disable channel_binding=require", Kind::Configuration, "channel binding"),
        ("user=scram_user sslmode=verify-ca sslrootcert=DIR/other.crt", Kind::Configuration, "no known authority"),
        ("user=scram_user port=1", Kind::Connection, "port 1"),
    ] {
        let error = Connection::connect(&cluster.tcp(text), "test", &[]).await.map(drop).expect_err(text);
        assert!(error.kind == kind && error.message.contains(part), "{text}: {error:?}");
    }
    for (password, part) in [(vec![("password", "wrong")], "password authentication failed"), (vec![], "none was found")] {
        let ep = cluster.tcp_with("user=scram_user", &password);
        let error = Connection::connect(&ep, "test", &[]).await.map(drop).expect_err(part);
        assert!(error.kind == Kind::InsufficientPrivilege && error.message.contains(part), "{error:?}");
    }
}

#[tokio::test]
async fn commands_answer_and_fail_without_breaking_the_connection() {
    let cluster = Cluster::start().await;
    let mut connection = Connection::connect(&cluster.socket(), "test", &[("work_mem", "7MB")]).await.expect("connected");
    assert_eq!(connection.simple_query("SHOW work_mem").await.expect("answered"), [[Some("7MB".into())]]);
    assert_eq!(connection.simple_query("SELECT NULL, 'a'; SELECT 'ä', 2").await.expect("answered"), [[Some("ä".into()), Some("2".into())]]);
    let error = connection.simple_query("SELECT 'sEcret'::int").await.expect_err("refused");
    assert!(error.sqlstate() == "22P02" && !format!("{error:?}").contains("sEcret"), "{error:?}");
    connection.create_logical_slot("s", "pgoutput").await.expect("made");
    let error = connection.create_logical_slot("s", "pgoutput").await.expect_err("twice");
    assert_eq!((error.kind, error.sqlstate()), (Kind::Rejected, "42710"), "{error:?}");
    let error = connection.start_replication("none", Lsn(0), PGOUTPUT).await.map(drop).expect_err("no slot");
    assert_eq!(error.sqlstate(), "42704", "{error:?}");
    let of = |connection: Connection| connection.start_replication("s", Lsn(0), PGOUTPUT);
    let first = of(receiving(&cluster, "user=scram_user").await).await.expect("started");
    let error = of(receiving(&cluster, "user=scram_user").await).await.map(drop).expect_err("in use");
    assert_eq!((error.kind, error.sqlstate()), (Kind::Contention, "55006"), "{error:?}");
    first.close().await.expect("closed");
    of(receiving(&cluster, "user=scram_user").await).await.expect("free again").close().await.expect("closed");
}

#[tokio::test]
async fn changes_arrive_decoded() {
    let cluster = Cluster::start().await;
    let setup = "CREATE TABLE t (id int PRIMARY KEY, \"W ä\" text, n int); ALTER TABLE t ALTER \"W ä\" SET STORAGE EXTERNAL;
        CREATE TABLE f (a int, b text); ALTER TABLE f REPLICA IDENTITY FULL";
    let (client, mut stream) = stream(&cluster, setup, &[PGOUTPUT, &[("messages", "true")]].concat()).await;
    let run = async |sql: &str| client.batch_execute(sql).await.expect(sql);
    run("INSERT INTO public.t VALUES (1, repeat('x', 5000), NULL), (2, '', 3)").await;
    run(
        "BEGIN; UPDATE public.t SET n = 4 WHERE id = 1; UPDATE public.t SET id = 7 WHERE id = 2; DELETE FROM public.t WHERE id = 7; COMMIT",
    )
    .await;
    run("BEGIN; INSERT INTO public.f VALUES (1, 'b'); UPDATE public.f SET a = 2; DELETE FROM public.f; COMMIT").await;
    run("TRUNCATE public.t, public.f RESTART IDENTITY CASCADE").await;
    run("SELECT pg_catalog.pg_logical_emit_message(true, 'pre', 'content')").await;
    assert_eq!(transaction(&mut stream).await, ["relation public.t id,W ä,n", "insert 1,<5000>,-", "insert 2,,3"]);
    assert_eq!(transaction(&mut stream).await, ["update 1,~,4", "update key 2,-,- 7,,3", "delete 7,-,-"]);
    assert_eq!(transaction(&mut stream).await, ["relation public.f a,b", "insert 1,b", "update full 2,b", "delete 2,b"]);
    assert_eq!(transaction(&mut stream).await, ["relation public.t id,W ä,n", "relation public.f a,b", "truncate 2 true true"]);
    assert_eq!(transaction(&mut stream).await, ["message pre 7 true"]);
    stream.close().await.expect("closed");
}

#[tokio::test]
async fn a_status_is_taken_while_nobody_reads() {
    let cluster = Cluster::start().await;
    let (client, mut stream) = stream(&cluster, "CREATE TABLE t (id int PRIMARY KEY, v text)", PGOUTPUT).await;
    // More than all buffers between the two hold, so the server waits for us to read.
    client.batch_execute("INSERT INTO public.t SELECT i, repeat('x', 1000) FROM generate_series(1, 60000) i").await.expect("written");
    let first = match timeout(Duration::from_secs(30), stream.next()).await.expect("in time").expect("a frame") {
        Frame::Data { wal_end, .. } | Frame::Keepalive { wal_end, .. } => wal_end,
    };
    let written = async || -> String {
        let sql = "SELECT coalesce(write_lsn::text, '') FROM pg_catalog.pg_stat_replication WHERE application_name = 'test'";
        client.query_one(sql, &[]).await.expect("a row").get(0)
    };
    for step in 1..=3 {
        let position = Lsn(first.0 + step);
        stream.send_status(position, Lsn(0), Lsn(0), false).await.expect("sent");
        let seen = async {
            while written().await != position.to_string() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), seen).await.unwrap_or_else(|_| panic!("the server has not seen {position}"));
    }
    assert_eq!(transaction(&mut stream).await.len(), 60001);
}

#[tokio::test]
async fn a_future_dropped_at_any_time_loses_nothing() {
    let cluster = Cluster::start().await;
    let (client, mut stream) = stream(&cluster, "CREATE TABLE t (id int PRIMARY KEY, v text)", PGOUTPUT).await;
    let writing = tokio::spawn(async move {
        for i in 0..200 {
            let sql = format!("INSERT INTO public.t SELECT {i} * 100 + j, repeat('x', {i} * 40) FROM generate_series(0, 99) j");
            client.batch_execute(&sql).await.expect("written");
        }
    });
    let (mut next_id, mut dropped) = (0, 0);
    while next_id < 20000 {
        // Polled once and dropped, unless a frame is there.
        let frame = tokio::select! {
            biased;
            frame = stream.next() => frame.expect("a frame"),
            () = tokio::task::yield_now() => {
                dropped += 1;
                continue;
            }
        };
        let Frame::Data { payload, .. } = frame else { continue };
        if let Message::Insert { new, .. } = decode(&payload, false).expect("valid") {
            let Some(Column::Text(id)) = new.columns().next() else { panic!("no id") };
            assert_eq!(std::str::from_utf8(id), Ok(next_id.to_string().as_str()));
            next_id += 1;
        }
    }
    writing.await.expect("written");
    assert!(dropped > 100, "{dropped}");
}

#[tokio::test]
async fn a_row_of_a_hundred_megabytes_arrives() {
    let cluster = Cluster::start().await;
    let (client, mut stream) = stream(&cluster, "CREATE TABLE t (id int PRIMARY KEY, v text)", PGOUTPUT).await;
    client
        .batch_execute("INSERT INTO public.t SELECT 1, repeat('0123456789', 10000000); INSERT INTO public.t VALUES (2, 'b')")
        .await
        .expect("written");
    assert_eq!(transaction(&mut stream).await, ["relation public.t id,v", "insert 1,<100000000>", "insert 2,b"]);
    stream.close().await.expect("closed");
}

#[tokio::test]
async fn transactions_in_progress_and_prepared_ones_arrive() {
    let cluster = Cluster::start().await;
    let (proto, streaming) = if cluster.version().await >= 160000 { ("4", "parallel") } else { ("3", "on") };
    let options =
        &[("proto_version", proto), ("publication_names", "p"), ("streaming", streaming), ("two_phase", "on"), ("binary", "true")];
    let (client, mut stream) = stream(&cluster, "CREATE TABLE t (id int PRIMARY KEY, v text)", options).await;
    client
        .batch_execute("BEGIN; INSERT INTO public.t SELECT i, 'streamed' FROM generate_series(1, 5000) i; ROLLBACK")
        .await
        .expect("written");
    client.batch_execute("INSERT INTO public.t SELECT i, 'streamed' FROM generate_series(1, 5000) i").await.expect("written");
    client.batch_execute("BEGIN; INSERT INTO public.t VALUES (0, 'p'); PREPARE TRANSACTION 'g1'").await.expect("prepared");
    client.batch_execute("COMMIT PREPARED 'g1'").await.expect("committed");
    client.batch_execute("BEGIN; INSERT INTO public.t VALUES (-1, 'p'); PREPARE TRANSACTION 'g2'").await.expect("prepared");
    client.batch_execute("ROLLBACK PREPARED 'g2'").await.expect("rolled back");
    let (mut block, mut kinds, mut rows) = (None, Vec::<&str>::new(), 0);
    while kinds.last() != Some(&"rollback prepared") {
        let payload = data(&mut stream).await;
        let kind = match decode(&payload, block.is_some()).expect("valid") {
            Message::StreamStart { xid, .. } => {
                block = Some(xid);
                "start"
            }
            Message::StreamStop => {
                block = None;
                "stop"
            }
            Message::Insert { xid, new, .. } => {
                assert_eq!(xid, block);
                assert!(matches!(new.columns().next(), Some(Column::Binary(b)) if b.len() == 4));
                rows += 1;
                continue;
            }
            Message::Relation { xid, .. } => {
                assert_eq!(xid, block);
                continue;
            }
            Message::StreamAbort { abort, .. } => {
                assert_eq!(abort.is_some(), proto == "4");
                "stream abort"
            }
            Message::StreamCommit { .. } => "stream commit",
            Message::BeginPrepare { gid: "g1" | "g2", .. } => "begin prepare",
            Message::Prepare { gid: "g1" | "g2", .. } => "prepare",
            Message::CommitPrepared { gid: "g1", .. } => "commit prepared",
            Message::RollbackPrepared { gid: "g2", .. } => "rollback prepared",
            Message::Begin { .. } => "begin",
            Message::Commit { .. } => "commit",
            other => panic!("{other:?}"),
        };
        kinds.push(kind);
    }
    assert!(rows >= 5001, "{rows}");
    kinds.retain(|kind| !matches!(*kind, "start" | "stop"));
    let (streamed, plain) = kinds.split_at(kinds.iter().position(|k| *k == "stream commit").expect("streamed") + 1);
    assert!(streamed.iter().all(|k| k.starts_with("stream")), "{streamed:?}");
    assert_eq!(plain, ["begin prepare", "prepare", "commit prepared", "begin prepare", "prepare", "rollback prepared"]);
}

/// The error that ends the stream.
async fn end(stream: &mut Stream) -> pgrelay_core::Error {
    loop {
        match timeout(Duration::from_secs(30), stream.next()).await.expect("in time") {
            Ok(_) => {}
            Err(e) => return e,
        }
    }
}

#[tokio::test]
async fn a_stream_that_ends_says_why() {
    let cluster = Cluster::start().await;
    let (client, mut first) = stream(&cluster, "CREATE TABLE t (id int PRIMARY KEY)", PGOUTPUT).await;
    // From 18 on a publication that is gone is skipped with a warning in the server's log.
    let refused = cluster.version().await < 180000;
    client.batch_execute("DROP PUBLICATION p; INSERT INTO public.t VALUES (1)").await.expect("written");
    if refused {
        let error = end(&mut first).await;
        assert!(error.sqlstate() == "42704" && error.message.contains("\"p\""), "{error:?}");
        assert_eq!(first.next().await.expect_err("closed").kind, Kind::Connection);
    }

    let mut connection = receiving(&cluster, "user=scram_user").await;
    connection.create_logical_slot("s2", "pgoutput").await.expect("made");
    let mut second = connection.start_replication("s2", Lsn(0), PGOUTPUT).await.expect("started");
    let sql = "SELECT pg_catalog.pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots WHERE slot_name = 's2'";
    client.batch_execute(sql).await.expect("ended");
    let error = end(&mut second).await;
    assert_eq!(error.kind, Kind::Connection, "{error:?}");
}

#[tokio::test]
async fn waiting_for_a_slot_can_be_given_up() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    client.batch_execute("BEGIN; SELECT pg_catalog.pg_current_xact_id()").await.expect("running");
    let watcher = cluster.client().await;
    for text in ["user=scram_user sslmode=disable", "user=scram_user sslmode=require"] {
        let mut connection = receiving(&cluster, text).await;
        let waiting = timeout(Duration::from_millis(500), connection.create_logical_slot("s", "pgoutput")).await;
        assert!(waiting.is_err(), "it does not wait: {waiting:?}");
        let error = connection.simple_query("SELECT 1").await.expect_err("abandoned");
        assert_eq!(error.kind, Kind::Connection);
        drop(connection);
        let gone = async {
            let sql =
                "SELECT (SELECT count(*) FROM pg_catalog.pg_replication_slots) + (SELECT count(*) FROM pg_catalog.pg_stat_replication)";
            while watcher.query_one(sql, &[]).await.expect("row").get::<_, i64>(0) > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), gone).await.unwrap_or_else(|_| panic!("{text}: the slot or its session is still there"));
    }
}
