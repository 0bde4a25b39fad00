//! The demo's database by the independent comparison scripts of `../shared/fidelity`, where those are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;

const MINUTE: Duration = Duration::from_secs(60);

fn scripts() -> Option<PathBuf> {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    ["../shared", "../../shared"].iter().map(|up| repo.join(up).join("fidelity")).find(|folder| folder.is_dir())
}

#[tokio::test]
async fn the_demo_database_is_identical_in_schema_and_rows() {
    let Some(scripts) = scripts() else {
        println!("skipped: there is no ../shared/fidelity here");
        return;
    };
    let objects =
        [include_str!("../../demo/schema.sql"), include_str!("../../demo/rows.sql"), include_str!("../../demo/keys.sql")].concat();
    let pair = Pair::start(&objects).await;
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", 3 * MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.stop_task('move')").await;
    pair.wait_for_state("stopped", MINUTE).await;

    // The servers' formats differ on purpose, and pg_dump shows partition bounds in them.
    for cluster in [&pair.source, &pair.peer] {
        for setting in ["timezone = 'UTC'", "datestyle = 'ISO, YMD'", "intervalstyle = 'postgres'"] {
            cluster.psql(DB, &format!("ALTER DATABASE {DB} SET {setting}")).await;
        }
    }
    let compare = |script: &str, args: &[&str]| {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(scripts.join(script)).arg("--source").arg(pair.source.dsn(DB)).arg("--target").arg(pair.peer.dsn(DB)).args(args);
        let out = command.output().expect("run python3");
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        println!("{script}: {text}");
        (script.to_string(), out.status.success(), text)
    };
    let results = [
        compare("schema_fidelity.py", &["--catalog", "--ignore", r"[ .]pgrelay(\.|_keep_identity$|_tell_rewrite$|$)"]),
        compare("data_fidelity.py", &["--exclude-schema", "^pgrelay$"]),
    ];
    for (script, same, text) in results {
        assert!(same, "{script}:\n{text}");
    }
}
