//! Settings of databases and roles on either side that change how values read as text.

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::ways::{apply_both_ways, running};

const TYPES: &str = "
    CREATE SCHEMA decoy; CREATE DOMAIN decoy.int4 AS text;
    CREATE TABLE t (id int PRIMARY KEY, d date, ts timestamp, tz timestamptz, i interval, f float8, r float4, b bytea, m money, x xml, s text,
        a timestamptz[], rng tstzrange, n numeric, tt timetz);
    CREATE TABLE whole (LIKE t); ALTER TABLE whole REPLICA IDENTITY FULL;
    CREATE FUNCTION fill(lo int, hi int) RETURNS void LANGUAGE sql AS $$
        INSERT INTO t SELECT n, date '2026-02-03' + n, timestamp '2026-02-03 04:05:06.789' - n * interval '1 day 1 us', timestamptz '2026-11-01 05:30:00+00' + n * interval '1 h',
            n * interval '-1 mon 3 days -04:05:06.7', n * 0.1::float8 + 1e-17, n * 0.1::float4, decode(lpad(to_hex(n), 8, '0') || '5c27', 'hex'), (n * 1.01)::numeric::money,
            CASE n % 2 WHEN 0 THEN xmlparse(content 'text <b/>' || n) ELSE xmlparse(document '<a>é</a>') END, E'é \\U0001f418 \\\\ '' ' || n,
            ARRAY[timestamptz '2026-11-01 05:30:00+00', NULL], tstzrange('2026-11-01 05:30:00+00', '2026-11-01 06:30:00+00'), n / 3.0, timetz '10:00:00+05:45'
        FROM generate_series(lo, hi) n;
        INSERT INTO whole SELECT * FROM t WHERE id BETWEEN lo AND hi $$;
    SELECT fill(1, 100);";

/// What a connection of a side gets unless it says otherwise.
fn settings(of: [&str; 9]) -> String {
    let [datestyle, intervalstyle, timezone, digits, bytea, encoding, xml, isolation, conforming] = of;
    let each = [
        format!("datestyle = '{datestyle}'"),
        format!("intervalstyle = '{intervalstyle}'"),
        format!("timezone = '{timezone}'"),
        format!("extra_float_digits = {digits}"),
        format!("bytea_output = '{bytea}'"),
        format!("client_encoding = '{encoding}'"),
        format!("xmloption = '{xml}'"),
        format!("default_transaction_isolation = '{isolation}'"),
        format!("standard_conforming_strings = {conforming}"),
        "search_path = decoy, public".to_owned(),
        "lc_monetary = 'C.utf8'".to_owned(),
        "default_transaction_read_only = on".to_owned(),
        "statement_timeout = '5s'".to_owned(),
        "lock_timeout = '1s'".to_owned(),
        "idle_in_transaction_session_timeout = '10s'".to_owned(),
        "enable_indexscan = off".to_owned(),
        "escape_string_warning = off".to_owned(),
    ];
    each.iter().map(|set| format!("ALTER ROLE postgres IN DATABASE {DB} SET {set};")).collect()
}

#[tokio::test]
async fn values_are_the_same_whatever_is_set_on_either_side() {
    let pair = Pair::start(TYPES).await;
    // Read only comes last: what is set is set by sessions too.
    pair.source
        .psql(
            "postgres",
            &settings(["German, DMY", "sql_standard", "Asia/Kathmandu", "-15", "escape", "LATIN1", "document", "read committed", "off"]),
        )
        .await;
    pair.peer
        .psql(
            "postgres",
            &settings(["SQL, MDY", "postgres_verbose", "America/St_Johns", "0", "escape", "SJIS", "document", "repeatable read", "off"]),
        )
        .await;
    let own = "SET default_transaction_read_only = off; SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; SET xmloption = 'content'; SET search_path = public;";
    let statements: Vec<String> = [
        "SELECT fill(:lo + 1000, :hi + 1000)",
        "UPDATE t SET s = s || ' changed' WHERE id BETWEEN :lo AND :hi",
        "UPDATE whole SET s = 'changed' WHERE id BETWEEN :lo AND :hi",
        "UPDATE t SET id = -id WHERE id BETWEEN :lo AND :hi AND id % 2 = 0",
        "DELETE FROM whole WHERE id BETWEEN :lo AND :hi AND id % 3 = 0; DELETE FROM t WHERE id = :lo",
    ]
    .iter()
    .map(|statement| format!("{own} {statement}"))
    .collect();
    let statements: Vec<&str> = statements.iter().map(String::as_str).collect();
    pair.source.psql("postgres", &format!("ALTER ROLE postgres IN DATABASE {DB} RESET default_transaction_read_only")).await;
    let pair = running(pair, "{}").await;
    apply_both_ways(&pair, &statements).await;
}
