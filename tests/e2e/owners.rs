//! Whose rights the peer's triggers and functions have while changes are applied: those of the table's owner.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::ways::{apply_both_ways, running};
use pgrelay_tests::{Pair, wait_for_value};

const MINUTE: Duration = Duration::from_secs(60);

const ROLES: &str = "CREATE ROLE shop_owner; CREATE ROLE other_owner; CREATE ROLE relay LOGIN SUPERUSER;";

const TABLES: &str = "
    CREATE SCHEMA shop AUTHORIZATION shop_owner; GRANT USAGE ON SCHEMA shop TO other_owner;
    CREATE TABLE shop.bill (id int PRIMARY KEY, v text); ALTER TABLE shop.bill OWNER TO shop_owner;
    CREATE TABLE shop.note (id int PRIMARY KEY, v text); ALTER TABLE shop.note OWNER TO other_owner;
    CREATE TABLE shop.mine (id int PRIMARY KEY, v text);
    INSERT INTO shop.bill SELECT n, 'v' FROM generate_series(1, 100) n;
    INSERT INTO shop.note SELECT n, 'v' FROM generate_series(1, 100) n;";

/// Each change of all three tables, in every order of owners.
const CHANGES: [&str; 5] = [
    "BEGIN; INSERT INTO shop.bill SELECT n + 1000, 'new' FROM generate_series(:lo, :hi / 2) n;
            INSERT INTO shop.note SELECT n + 1000, 'new' FROM generate_series(:lo, :hi / 2) n;
            INSERT INTO shop.mine SELECT n + 1000, 'new' FROM generate_series(:lo, :hi / 2) n; COMMIT",
    "UPDATE shop.bill SET v = 'changed' WHERE id BETWEEN :lo AND :hi",
    "UPDATE shop.note SET id = -id WHERE id BETWEEN :lo AND :hi",
    "DELETE FROM shop.bill WHERE id BETWEEN :lo AND :lo + 2",
    "BEGIN; TRUNCATE shop.mine; INSERT INTO shop.mine VALUES (:lo, 'after'); COMMIT",
];

async fn pair() -> Pair {
    // The owner's rights are one thing, that the position is written as the applier's role another: nobody else may.
    let pair = Pair::start("").await;
    pair.source.psql(DB, &format!("{ROLES}{TABLES}")).await;
    pair.peer.psql(DB, ROLES).await;
    pair
}

/// On the peer alone, since the source's application is not what is looked at.
async fn on_peer(pair: &Pair, sql: &str) {
    pair.peer.psql(DB, sql).await;
    // The shape of a table is read when its first change comes.
    pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
}

#[tokio::test]
async fn functions_of_a_check_run_as_the_owner_of_the_table_by_row_and_in_sets() {
    let pair = running(pair().await, "{}").await;
    let checks = "CREATE FUNCTION shop.runs_as(who text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT current_user = who';
        ALTER TABLE shop.bill ADD CHECK (shop.runs_as('shop_owner')) NOT VALID;
        ALTER TABLE shop.note ADD CHECK (shop.runs_as('other_owner')) NOT VALID;
        ALTER TABLE shop.mine ADD CHECK (shop.runs_as('postgres')) NOT VALID;";
    on_peer(&pair, checks).await;
    apply_both_ways(&pair, &CHANGES).await;
}

#[tokio::test]
async fn triggers_run_as_the_owner_of_the_table_those_of_truncate_and_deferred_ones_too() {
    let pair = running(pair().await, "{}").await;
    let triggers = "CREATE SCHEMA log;
        CREATE TABLE log.seen (what text, who text); GRANT ALL ON SCHEMA log TO PUBLIC; GRANT ALL ON log.seen TO PUBLIC;
        CREATE FUNCTION log.see() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO log.seen VALUES (concat_ws(' ', TG_TABLE_NAME, TG_NAME, TG_OP), current_user); RETURN NULL; END $$;
        DO $$ DECLARE t text; BEGIN
            FOREACH t IN ARRAY '{bill,note,mine}'::text[] LOOP
                EXECUTE format('CREATE TRIGGER one AFTER INSERT OR UPDATE OR DELETE ON shop.%I FOR EACH ROW EXECUTE FUNCTION log.see()', t);
                EXECUTE format('CREATE TRIGGER all_rows AFTER TRUNCATE ON shop.%I FOR EACH STATEMENT EXECUTE FUNCTION log.see()', t);
                EXECUTE format('CREATE CONSTRAINT TRIGGER late AFTER INSERT ON shop.%I DEFERRABLE INITIALLY DEFERRED
                                FOR EACH ROW EXECUTE FUNCTION log.see()', t);
                EXECUTE format('ALTER TABLE shop.%I ENABLE ALWAYS TRIGGER one, ENABLE REPLICA TRIGGER all_rows, ENABLE ALWAYS TRIGGER late', t);
            END LOOP;
        END $$;";
    on_peer(&pair, triggers).await;
    let changes: Vec<&str> =
        CHANGES.into_iter().chain(["BEGIN; TRUNCATE shop.bill, shop.note; INSERT INTO shop.note VALUES (:lo); COMMIT"]).collect();
    pgrelay_tests::ways::one_by_one(&pair, &changes).await;
    pgrelay_tests::ways::as_backlog(&pair, &changes).await;
    let sql = "SELECT string_agg(DISTINCT split_part(what, ' ', 1) || ' ' || who, ', ') FROM log.seen WHERE what NOT LIKE '%TRUNCATE'";
    assert_eq!(pair.peer.psql(DB, sql).await, "bill shop_owner, mine postgres, note other_owner");
    let sql = "SELECT count(*) FROM log.seen WHERE what = 'bill late INSERT'";
    assert_ne!(pair.peer.psql(DB, sql).await, "0", "deferred triggers have run");
    let sql = "SELECT string_agg(DISTINCT what || ' ' || who, ', ') FROM log.seen WHERE what LIKE '%TRUNCATE'";
    let together = "bill all_rows TRUNCATE postgres, mine all_rows TRUNCATE postgres, note all_rows TRUNCATE postgres";
    assert_eq!(pair.peer.psql(DB, sql).await, together, "one command for tables of several owners has the applier's rights");
}

#[tokio::test]
async fn a_right_that_the_owner_lacks_is_told_with_whose_it_is() {
    let pair = running(pair().await, "{}").await;
    let secret = "CREATE FUNCTION shop.secret() RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
        REVOKE ALL ON FUNCTION shop.secret() FROM PUBLIC; ALTER TABLE shop.bill ADD CHECK (shop.secret())";
    on_peer(&pair, secret).await;
    pair.source.psql(DB, "INSERT INTO shop.bill VALUES (7000)").await;
    let client = pair.source_client().await;
    let sql = "SELECT (error LIKE '%permission denied for function secret%' AND error_hint LIKE '%owner%')::text FROM pgrelay.task_status";
    wait_for_value(&client, sql, "true", MINUTE).await;
    pair.peer.psql(DB, "GRANT EXECUTE ON FUNCTION shop.secret() TO shop_owner").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn an_owner_who_may_not_change_his_table_does_not_stop_it() {
    let pair = running(pair().await, "{}").await;
    let taken = "REVOKE INSERT ON shop.bill FROM shop_owner; REVOKE USAGE ON SCHEMA shop FROM other_owner;
        ALTER TABLE shop.mine OWNER TO shop_owner; ALTER TABLE shop.mine ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY";
    on_peer(&pair, taken).await;
    apply_both_ways(&pair, &CHANGES).await;
}
