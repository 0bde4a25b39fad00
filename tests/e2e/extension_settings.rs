//! Rows that users keep in the tables of an extension (`pg_extension_config_dump`).

use std::time::Duration;

use pgrelay_tests::{Applier, Cluster, ClusterOptions, Package, Pair};

const MINUTE: Duration = Duration::from_secs(60);
const DB: &str = "app";

/// An extension with rows of its own, in the folder of pgrelay's: a table with a condition, one without, one without a key, a sequence.
fn extension() {
    let script = "CREATE TABLE @extschema@.\"Conf.1\" (id int PRIMARY KEY, \"Value\" text UNIQUE, own boolean NOT NULL DEFAULT true, twice int GENERATED ALWAYS AS (id * 2) STORED);
        INSERT INTO @extschema@.\"Conf.1\" VALUES (1, 'one', false), (2, 'two', false), (3, 'three', false);
        CREATE TABLE @extschema@.job (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text); INSERT INTO @extschema@.job (what) VALUES ('vacuum');
        CREATE TABLE @extschema@.plain (what text); CREATE SEQUENCE @extschema@.ids; CREATE SEQUENCE @extschema@.own_ids; SELECT nextval('@extschema@.own_ids');
        SELECT pg_extension_config_dump('@extschema@.\"Conf.1\"', 'WHERE own');
        SELECT pg_extension_config_dump('@extschema@.job', '');
        SELECT pg_extension_config_dump('@extschema@.plain', $$WHERE what <> 'x'$$);
        SELECT pg_extension_config_dump('@extschema@.ids', '');";
    let folder = Package::from_env().extensions();
    let put = |name: &str, text: &str| {
        let beside = folder.join(format!("{name}.{}", std::process::id()));
        std::fs::write(&beside, text).expect("write a file of an extension");
        std::fs::rename(beside, folder.join(name)).expect("rename a file of an extension");
    };
    put("pgrelay_test_settings--1.0.sql", script);
    put("pgrelay_test_settings.control", "comment = 'for a test of pgrelay'\ndefault_version = '1.0'\nrelocatable = false\n");
}

/// As `Pair::start`, with a peer that has the extension, as it comes: a folder of its own is not in `pg_available_extensions`.
async fn pair(sql: &str) -> Pair {
    extension();
    let server = async |name: &str| Cluster::start(ClusterOptions { name: name.into(), package: true, ..Default::default() }).await;
    let (source, peer) = (server("source").await, server("peer").await);
    source.create_db(DB).await;
    peer.create_db(DB).await;
    source.psql(DB, sql).await;
    peer.psql(DB, "CREATE EXTENSION pgrelay_test_settings").await;
    source.psql(DB, "CREATE EXTENSION pgrelay").await;
    let applier = Applier::start_with(&source, DB, &[], &[]);
    Pair { applier, source, peer }
}

const USED: &str = "CREATE EXTENSION pgrelay_test_settings; CREATE TABLE t (id int PRIMARY KEY);
    INSERT INTO public.\"Conf.1\" VALUES (10, 'mine'), (11, 'also mine');
    UPDATE public.\"Conf.1\" SET own = true, \"Value\" = 'my two' WHERE id = 2;
    DELETE FROM public.job; INSERT INTO public.job (what) VALUES ('mine'); INSERT INTO public.plain VALUES ('a'), ('a'), ('x');
    SELECT nextval('public.ids') FROM generate_series(1, 41); SELECT nextval('public.own_ids') FROM generate_series(1, 7)";

const CONTENTS: &str = "SELECT (SELECT string_agg(concat_ws(' ', id, \"Value\", own, twice), ', ' ORDER BY id) FROM public.\"Conf.1\")
    || '; ' || coalesce((SELECT string_agg(id || ' ' || what, ', ' ORDER BY id) FROM public.job), '-')
    || '; ' || coalesce((SELECT string_agg(what, ', ' ORDER BY what) FROM public.plain), '-')";

async fn finding(pair: &Pair) -> String {
    let sql = "SELECT coalesce(string_agg(severity || ' ' || object || ': ' || message || ': ' || fix, E'\\n' ORDER BY object), '')
        FROM pgrelay.finding WHERE item = 'extension_settings'";
    pair.source.psql(DB, sql).await.trim().to_string()
}

#[tokio::test]
async fn rows_that_users_keep_in_an_extension_are_copied_and_their_changes_follow() {
    let pair = pair(USED).await;
    pair.start_task(r#"{"acknowledge_warnings": true, "keyless": "full"}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    let expected = "warning public.job: the table of an extension holds 1 rows on the peer that the source's will replace: \
                    Give the option acknowledge_warnings to let that be, or leave the table out with exclude.";
    assert_eq!(finding(&pair).await, expected);
    // The extension's own row 2 was made the user's; 1 and 3 are the peer's own.
    let copied = "1 one f 2, 2 my two t 4, 3 three f 6, 10 mine t 20, 11 also mine t 22; 2 mine; a, a";
    assert_eq!(pair.peer.psql(DB, CONTENTS).await.trim(), copied);
    let changes = "UPDATE public.\"Conf.1\" SET \"Value\" = 'uno' WHERE id = 1; DELETE FROM public.\"Conf.1\" WHERE id = 10;
        INSERT INTO public.job (what) VALUES ('later'); INSERT INTO public.plain VALUES ('b'); SELECT nextval('public.ids')";
    pair.source.psql(DB, changes).await;
    pair.wait_for_catchup(MINUTE).await;
    let followed = "1 uno f 2, 2 my two t 4, 3 three f 6, 11 also mine t 22; 2 mine, 3 later; a, a, b";
    assert_eq!(pair.peer.psql(DB, CONTENTS).await.trim(), followed);
    let positions = "SELECT nextval('public.ids') || ' ' || nextval('public.own_ids')";
    assert_eq!(pair.peer.psql(DB, positions).await.trim(), "43 2", "the position of ids is the user's, that of own_ids the extension's");
    let own = "SELECT count(*) FROM pg_publication_tables WHERE schemaname LIKE 'pgrelay%'";
    assert_eq!(pair.source.psql(DB, own).await.trim(), "0");
}

#[tokio::test]
async fn rows_of_an_extension_that_the_peer_has_already_are_replaced_only_when_that_is_agreed_to() {
    let pair = pair(USED).await;
    let there = "INSERT INTO public.\"Conf.1\" VALUES (10, 'x'), (99, 'theirs')";
    pair.peer.psql(DB, there).await;
    pair.start_task(r#"{"stages": ["schema", "copy"]}"#).await;
    pair.wait_for_state("precheck_failed", MINUTE).await;
    let found = finding(&pair).await;
    assert!(found.contains("error public.Conf.1: the table of an extension holds 2 rows"), "{found}");
    assert!(found.contains("error public.job: the table of an extension holds 1 rows"), "{found}");
    let kept = "1 one f 2, 2 two f 4, 3 three f 6, 10 x t 20, 99 theirs t 198; 1 vacuum; -";
    assert_eq!(pair.peer.psql(DB, CONTENTS).await.trim(), kept);
    pair.source.psql(DB, "SELECT pgrelay.alter_task('move', '{\"acknowledge_warnings\": true}')").await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("finished", MINUTE).await;
    let replaced = "1 one f 2, 2 my two t 4, 3 three f 6, 10 mine t 20, 11 also mine t 22; 2 mine; a, a";
    assert_eq!(pair.peer.psql(DB, CONTENTS).await.trim(), replaced);
}

#[tokio::test]
async fn a_table_of_an_extension_that_is_excluded_stays_as_the_extension_made_it() {
    let pair = pair(USED).await;
    let sql = format!(
        "SELECT pgrelay.start_task('move', '{}', exclude => ARRAY['public.job', 'public.plain'], options => '{{\"stages\": [\"schema\", \"copy\"]}}')",
        pair.peer.dsn(DB)
    );
    pair.source.psql(DB, &sql).await;
    pair.wait_for_state("finished", MINUTE).await;
    let copied = "1 one f 2, 2 my two t 4, 3 three f 6, 10 mine t 20, 11 also mine t 22; 1 vacuum; -";
    assert_eq!(pair.peer.psql(DB, CONTENTS).await.trim(), copied);
}
