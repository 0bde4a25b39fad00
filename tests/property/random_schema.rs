//! Random schemas moved by plan and carry_out: what pg_dump says of both sides is the same.

mod schema;

use pgrelay_tests::schema::{move_schema, same_dumps};
use pgrelay_tests::{Cluster, ClusterOptions, Seed};

/// One run of the daily tests, and one of the nightly.
const DAILY: u64 = 15;
const NIGHTLY: u64 = 300;

#[tokio::test]
async fn a_random_schema_arrives_as_it_was() {
    let mut seed = Seed::from_env();
    let nightly = std::env::var("PGRELAY_NIGHTLY").is_ok_and(|v| v == "1");
    let count = std::env::var("PGRELAY_SCHEMAS").ok().map(|n| n.parse().expect("PGRELAY_SCHEMAS is a number"));
    let count = count.unwrap_or(if nightly { NIGHTLY } else { DAILY });
    let server = Cluster::start(ClusterOptions { name: "schema".to_string(), ..ClusterOptions::default() }).await;
    schema::roles(&server.connect("postgres").await).await;
    // `PGRELAY_SEED` of a failed schema makes it the first. The daily run takes the same schemas every time, so that a change is
    // blamed for what it broke; new ones are the nightly run's.
    let given = std::env::var("PGRELAY_SEED").ok().and_then(|v| v.parse().ok());
    let first = given.unwrap_or_else(|| if nightly { seed.below(1 << 40) } else { 1 });
    let mut wrong = Vec::new();
    for number in first..first + count {
        if let Err(e) = arrives(&server, number).await {
            println!("PGRELAY_SEED={number} fails: {e}");
            wrong.push(number);
        }
    }
    assert!(wrong.is_empty(), "{} of {count} schemas do not arrive as they were; the first with PGRELAY_SEED={}", wrong.len(), wrong[0]);
}

/// One schema, from one database to another; both are dropped when it is well.
async fn arrives(server: &Cluster, number: u64) -> Result<(), String> {
    let (source, peer) = (format!("source_{number}"), format!("peer_{number}"));
    server.create_db(&source).await;
    let client = server.connect(&source).await;
    let done = schema::generate(&client, number).await;
    drop(client);
    server.psql(&source, schema::LEAVE_OUT_WHAT_CANNOT_BE_BUILT).await;
    let result = match move_schema(server, &source, &peer).await {
        Ok(_) => same_dumps(server, &source, &peer).await,
        Err(e) => Err(format!("{e} {}", e.object.as_deref().unwrap_or_default())),
    };
    if let Ok(folder) = std::env::var("PGRELAY_STATEMENTS") {
        std::fs::write(format!("{folder}/{number}.sql"), done.join(";\n") + ";\n").expect("write the statements");
    }
    for db in [&source, &peer] {
        server.psql("postgres", &format!("DROP DATABASE \"{db}\" WITH (FORCE)")).await;
    }
    result
}
