//! Keys that are equal otherwise than their bytes are.

use std::time::Duration;

use pgrelay_tests::{
    Pair,
    pair::DB,
    ways::{as_backlog, both_ways, running},
};

/// A table whose key is `key(n)` of a type, with changes of values, of keys to an equal value of another form, and of keys.
fn table(name: &str, key_type: &str, key: &str, same: &str) -> (String, [String; 5]) {
    let of = |n: &str| key.replace('?', n);
    let objects = format!(
        "CREATE TABLE {name} (k {key_type} PRIMARY KEY, n int UNIQUE, v text);
         INSERT INTO {name} SELECT {}, n, 'v' FROM generate_series(1, 60) n;",
        of("n")
    );
    let changes = [
        format!("UPDATE {name} SET v = 'changed' WHERE n BETWEEN :lo AND :hi"),
        format!("UPDATE {name} SET k = {same} WHERE n BETWEEN :lo AND :hi"),
        format!("UPDATE {name} SET v = 'by the other form' WHERE n BETWEEN :lo AND :hi AND n % 2 = 0"),
        format!("UPDATE {name} SET k = {}, n = n + 500 WHERE n BETWEEN :lo AND :hi AND n % 3 = 0", of("(n + 500)")),
        format!(
            "DELETE FROM {name} WHERE n BETWEEN :lo AND :hi AND n % 4 = 0; INSERT INTO {name} VALUES ({}, :lo + 900, 'new')",
            of("(:lo + 900)")
        ),
    ];
    (objects, changes)
}

#[tokio::test]
async fn rows_are_found_by_the_equality_of_their_key() {
    let first = "CREATE EXTENSION citext;
        CREATE COLLATION ignore_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        CREATE DOMAIN code AS citext CHECK (length(VALUE) > 0);
        CREATE TYPE letter AS ENUM ('a', 'b');
        CREATE TYPE pair AS (a int, b numeric);";
    let tables = [
        table("of_citext", "citext", "'Key ' || ?", "upper(k::text)::citext"),
        table("of_domain", "code", "'Code ' || ?", "lower(k::text)"),
        table("of_collation", "text COLLATE ignore_case", "'Key ' || ?", "upper(k)"),
        table("of_numeric", "numeric", "?::numeric(20,1)", "k::numeric(20,3)"),
        table("of_float", "float8", "(? - 1)::float8", "CASE WHEN k = 0 THEN '-0' ELSE k END"),
        table("of_bpchar", "char(20)", "'Key ' || ?", "rtrim(k) || '  '"),
        table("of_interval", "interval", "? * interval '30 days'", "justify_days(k)"),
        table("of_timetz", "timetz", "'10:00:00+00'::timetz + ? * interval '1 min'", "k AT TIME ZONE '+05'"),
        table("of_jsonb", "jsonb", "jsonb_build_object('a', ?::numeric(20,1))", "jsonb_build_object('a', n::numeric(20,2))"),
        table("of_range", "numrange", "numrange(?, ? + 1)", "numrange(n::numeric(20,2), n + 1.0)"),
        table("of_array", "citext[]", "ARRAY['Key ' || ?]::citext[]", "ARRAY[upper(k[1]::text)]::citext[]"),
        table("of_composite", "pair", "ROW(?, ?)::pair", "ROW(n, n::numeric(20,1))::pair"),
        table("of_money", "money", "?::numeric::money", "k"),
        table("of_inet", "inet", "'10.0.0.0'::inet + ?", "k"),
    ];
    let objects: String = tables.iter().map(|(objects, _)| objects.as_str()).collect();
    let statements: Vec<&str> = tables.iter().flat_map(|(_, changes)| changes.iter().map(String::as_str)).collect();
    both_ways(&[first, &objects].concat(), &statements, "{}").await;
}

#[tokio::test]
async fn a_key_of_several_columns_in_another_order_than_the_table_s() {
    both_ways(
        "CREATE TABLE t (v text, b text COLLATE \"C\", a int, c date, PRIMARY KEY (c, a, b));
         INSERT INTO t SELECT 'v', 'b' || n, n, '2026-01-01' FROM generate_series(1, 60) n;
         CREATE TABLE by_index (a int, b numeric NOT NULL, v text);
         CREATE UNIQUE INDEX by_index_b ON by_index (b) INCLUDE (v);
         ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_b;",
        &[
            "UPDATE t SET v = 'w' WHERE a BETWEEN :lo AND :hi",
            "UPDATE t SET b = b || 'x', c = 'infinity' WHERE a BETWEEN :lo AND :hi AND a % 2 = 0",
            "INSERT INTO by_index SELECT n, n, 'v' FROM generate_series(:lo, :hi) n",
            "UPDATE by_index SET b = b::numeric(10, 2), v = 'w' WHERE a BETWEEN :lo AND :hi",
            "DELETE FROM by_index WHERE a = :hi; DELETE FROM t WHERE a = :lo",
        ],
        "{}",
    )
    .await;
}

/// A plan that is made while a table is empty would read all of it ever after.
#[tokio::test]
async fn sets_find_rows_by_the_key_of_a_table_that_was_empty_when_they_were_first_applied() {
    const MINUTE: Duration = Duration::from_secs(60);
    let pair = running(Pair::start("CREATE TABLE t (id int PRIMARY KEY, v text)").await, "{}").await;
    let first = "INSERT INTO t SELECT n, 'v' FROM generate_series(1, 50) n; UPDATE t SET v = 'w'; DELETE FROM t";
    as_backlog(&pair, &[first]).await;
    pair.source.psql(DB, "INSERT INTO t SELECT n, 'v' FROM generate_series(1, 50000) n").await;
    pair.wait_for_catchup(MINUTE).await;
    let read = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 't'";
    let before: u64 = pair.peer.psql(DB, read).await.parse().unwrap();
    for n in 1..=20 {
        let changes = format!(
            "UPDATE t SET v = 'x' WHERE id BETWEEN {n} * 1000 AND {n} * 1000 + 50; DELETE FROM t WHERE id BETWEEN {n} AND {n} + 30"
        );
        pair.source.psql(DB, &changes).await;
        pair.wait_for_catchup(MINUTE).await;
    }
    // The session tells what it has read when it ends.
    pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    let scanned = "SELECT idx_scan > 0 FROM pg_stat_user_tables WHERE relname = 't'";
    pgrelay_tests::wait_for_value(&pair.peer_client().await, &format!("SELECT ({scanned})::text"), "true", MINUTE).await;
    assert_eq!(pair.peer.psql(DB, read).await.parse::<u64>().unwrap(), before, "rows that were read one after the other");
}
