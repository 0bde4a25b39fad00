//! PostgreSQL's own regression database and the exotic schema, moved by a task: nightly (`PGRELAY_NIGHTLY=1`), as it takes minutes.
//!
//! The scripts that make and compare them are in `../shared/fidelity`; without them there is nothing to do here.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::process::{TempFolder, as_client, bindir, run};
use pgrelay_tests::{Applier, Cluster, ClusterOptions, Pair, wait_for_value};

const MINUTE: Duration = Duration::from_secs(60);

/// pgrelay's own objects.
const OWN: &str = r"[ .]pgrelay(\.|_[a-z_]+$|$)";

/// A thousand tables with their chunks, indexes and triggers take more locks than the default allows to one transaction; the
/// formats are the same on both sides, since pg_dump shows bounds and defaults in them.
const CONF: &str = "max_locks_per_transaction = 512\nmax_worker_processes = 32\nmax_prepared_transactions = 4
    datestyle = 'ISO, YMD'\nintervalstyle = 'postgres'\ntimezone = 'UTC'\n";

/// What `docs/limits.md` says does not arrive as it was: the stale rows of a materialized view, which is filled anew on the peer.
/// Twice, as one may read another that comes later.
const WITHOUT_WHAT_IS_NOT_CARRIED: &str = "DO $$ DECLARE view regclass; BEGIN
      FOR view IN SELECT c.oid FROM pg_class c, generate_series(1, 2) n WHERE c.relkind = 'm' AND c.relispopulated ORDER BY n, c.oid LOOP
        EXECUTE format('REFRESH MATERIALIZED VIEW %s', view);
      END LOOP;
    END $$";

fn scripts() -> Option<PathBuf> {
    if std::env::var("PGRELAY_NIGHTLY").is_ok_and(|v| v == "1") {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
        let found = ["../shared", "../../shared"].iter().map(|up| repo.join(up).join("fidelity")).find(|folder| folder.is_dir());
        if found.is_none() {
            println!("skipped: there is no ../shared/fidelity here");
        }
        return found;
    }
    println!("skipped: PGRELAY_NIGHTLY is not 1");
    None
}

/// What a comparison printed, and whether both sides are the same.
fn compare(scripts: &Path, script: &str, source: &str, target: &str, more: &[&str]) -> (bool, String) {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(scripts.join(script)).args(["--source", source, "--target", target]).args(more);
    let out = command.output().expect("run python3");
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    println!("{script} {}:\n{text}", more.join(" "));
    (out.status.success(), text)
}

/// `pg_dump | psql` of the same database, for what not even it gets across; the figures for `--baseline`.
async fn baseline(scripts: &Path, pair: &Pair, folder: &Path) -> PathBuf {
    pair.peer.create_db("baseline").await;
    let dump = folder.join("dump.sql");
    run(as_client(&bindir().join("pg_dump")).args(["--schema-only", "-f"]).arg(&dump).arg("-d").arg(pair.source.dsn(DB)));
    let mut psql = as_client(&bindir().join("psql"));
    run(psql.args(["-XqAt", "-o", "/dev/null", "-f"]).arg(&dump).arg("-d").arg(pair.peer.dsn("baseline")));
    let figures = folder.join("baseline.json");
    let json = figures.to_string_lossy().into_owned();
    compare(
        scripts,
        "schema_fidelity.py",
        &pair.source.dsn(DB),
        &pair.peer.dsn("baseline"),
        &["--ignore", OWN, "--quiet", "--json", &json],
    );
    figures
}

/// Moves the database of the source, then compares schema and rows; `options` are the task's.
async fn moved_is_the_same(scripts: &Path, pair: &Pair, options: &str) {
    pair.source.psql(DB, WITHOUT_WHAT_IS_NOT_CARRIED).await;
    let folder = TempFolder::new();
    let figures = baseline(scripts, pair, folder.path()).await;
    pair.start_task(options).await;
    pair.wait_for_state("running", 20 * MINUTE).await;
    pair.wait_for_catchup(5 * MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.stop_task('move')").await;
    pair.wait_for_state("stopped", 5 * MINUTE).await;
    let (source, peer) = (pair.source.dsn(DB), pair.peer.dsn(DB));
    let json = figures.to_string_lossy().into_owned();
    compare(scripts, "schema_fidelity.py", &source, &peer, &["--ignore", OWN, "--catalog", "--diffs", "60"]);
    let schema = compare(scripts, "schema_fidelity.py", &source, &peer, &["--ignore", OWN, "--baseline", &json]);
    let data = compare(scripts, "data_fidelity.py", &source, &peer, &["--exclude-schema", "^pgrelay$"]);
    assert!(schema.0, "the schema is worse than pg_dump's:\n{}", schema.1);
    assert!(data.0, "rows differ:\n{}", data.1);
}

/// A source without a database yet, and a peer; both with `CONF`.
async fn servers() -> (Cluster, Cluster) {
    let source = Cluster::start(ClusterOptions { name: "source".into(), package: true, conf: CONF.into() }).await;
    let peer = Cluster::start(ClusterOptions { name: "peer".into(), package: false, conf: CONF.into() }).await;
    (source, peer)
}

/// The extension in the database that is there now, an applier for it, and the roles and database of the peer.
async fn pair(source: Cluster, peer: Cluster) -> Pair {
    let mut command = as_client(&bindir().join("pg_dumpall"));
    let roles = run(command.args(["--roles-only", "-d"]).arg(source.dsn("postgres")));
    // `postgres` is there, and lines with a backslash are psql's.
    let made: String = roles.lines().filter(|l| !l.contains("ROLE postgres") && !l.starts_with('\\')).map(|l| format!("{l}\n")).collect();
    peer.psql("postgres", &made).await;
    peer.create_db(DB).await;
    source.psql(DB, "CREATE EXTENSION pgrelay").await;
    let applier = Applier::start(&source, DB, &[]);
    let attached = "SELECT (count(*) > 0)::text FROM pgrelay.applier WHERE attached";
    wait_for_value(&source.connect(DB).await, attached, "true", MINUTE).await;
    Pair { applier, source, peer }
}

#[tokio::test]
async fn the_regression_database_of_postgresql_arrives() {
    let Some(scripts) = scripts() else { return };
    let (source, peer) = servers().await;
    let folder = std::env::temp_dir().join("pgrelay-regression");
    let work = std::env::var("PGRELAY_REGRESSION").map_or(folder, PathBuf::from);
    let mut make = Command::new("bash");
    let dsn = format!("host=127.0.0.1 port={} user=postgres", source.port());
    println!("{}", run(make.arg(scripts.join("make_regression.sh")).arg(&work).env("FID_SRC", dsn)));
    source.psql("postgres", &format!("ALTER DATABASE regression RENAME TO {DB}")).await;
    let pair = pair(source, peer).await;
    moved_is_the_same(&scripts, &pair, r#"{"keyless": "insert_only", "acknowledge_warnings": true, "large_objects": true}"#).await;
}

#[tokio::test]
async fn the_exotic_database_arrives() {
    let Some(scripts) = scripts() else { return };
    let (source, peer) = servers().await;
    source.create_db(DB).await;
    let mut psql = as_client(&bindir().join("psql"));
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(scripts.join("exotic.sql")).arg("-d").arg(source.dsn(DB));
    run(&mut psql);
    let pair = pair(source, peer).await;
    moved_is_the_same(&scripts, &pair, r#"{"keyless": "insert_only", "acknowledge_warnings": true, "large_objects": true}"#).await;
}
